import { z } from "zod";

/** A value that JSON can hold. Objects are read by own keys only. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | JsonValue[]
  | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

/** The version of every format of this release; a reader refuses another major version. */
export const SCHEMA_VERSION = "1.0.0";

export const schemaVersion = z.literal(SCHEMA_VERSION);

/** Lower-case hex SHA-256. */
export const digest = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hex digits");

/** Lower-case hex SHA-256 of the SPKI DER of an Ed25519 public key. */
export const keyId = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hex digits");

/** UTC with milliseconds, `2026-01-31T23:59:59.999Z`: one spelling for one instant. */
export const timestamp = z
  .string()
  .regex(
    /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/,
    "expected a UTC time such as 2026-01-31T23:59:59.999Z",
  )
  .refine(isDay, "expected a day that there is");

/** Months have no day 31 by their pattern alone: 31 February would be a second name of 3 March. */
export function isDay(text: string): boolean {
  if (text.slice(8, 10) <= "28") return true;
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split("-").map(Number);
  return day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
}

/** Names that people choose: tenants, roles, stages, artifacts, models. */
export const name = z
  .string()
  .regex(/^[a-z][a-z0-9_.-]{0,62}$/, "expected 1 to 63 of a-z 0-9 _ . -, starting with a letter");

export const runId = z.string().regex(/^run_[a-z0-9]{20}$/, "expected run_ and 20 of a-z 0-9");

/** One machine of an installation: a data folder with its own sentinel. */
export const nodeId = z.string().regex(/^nod_[a-z0-9]{20}$/, "expected nod_ and 20 of a-z 0-9");

/** Of a tenant's log: what people say of its work, such as that an incident is resolved. */
export const OPERATIONS_STREAM = "operations";

/**
 * A run's stream is its id. In `operations` stands what people say of a tenant's work. The installation's log has `keys`, `nodes`, `ledger`, and for each node the
 * journal of its kill switch, `scram/` and the node's id; before there were nodes it was `scram`.
 */
export const streamName = z.union([
  runId,
  z.literal(OPERATIONS_STREAM),
  z.literal("keys"),
  z.literal("nodes"),
  z.literal("ledger"),
  z.literal("scram"),
  z.string().regex(/^scram\/nod_[a-z0-9]{20}$/, "expected scram/ and a node's id"),
]);

/** A log is one tenant's, or the installation's own. */
export const INSTALLATION_LOG = "installation";

export const installationId = z
  .string()
  .regex(/^ins_[a-z0-9]{20}$/, "expected ins_ and 20 of a-z 0-9");

export const nonce = z.string().regex(/^[0-9a-f]{32}$/, "expected 32 lower-case hex digits");

export const mode = z.enum(["sovereign", "compatible"]);
export type Mode = z.infer<typeof mode>;

export const count = z.int().min(0);

/** Any JSON value, by one walk over it: a union would try each kind in turn, at each value in it. */
export const json: z.ZodType<JsonValue> = z.custom<JsonValue>(isJson, "expected a JSON value");
export const jsonObject: z.ZodType<JsonObject> = z.record(z.string(), json);

function isJson(value: unknown): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value);
    case "object":
      if (value === null) return true;
      if (Array.isArray(value)) return value.every(isJson);
      return isPlain(value) && Object.values(value).every(isJson);
    default:
      return false;
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** A file that a run made: `name` is unique in the run, `bytes` its size. */
export const artifactRef = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(200)
    .regex(
      /^(?!.*\/\.\.(?:\/|$))[A-Za-z0-9_][A-Za-z0-9_./-]*$/,
      "expected a relative path without odd characters and without ..",
    ),
  sha256: digest,
  bytes: count,
  media_type: z.string().max(100),
});
export type ArtifactRef = z.infer<typeof artifactRef>;

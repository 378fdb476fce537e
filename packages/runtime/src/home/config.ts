import { join } from "node:path";
import {
  API_SCOPES,
  fields,
  type JsonValue,
  isSovereignError,
  SovereignError,
  readFormat,
} from "@sovereign/core";
import { z } from "zod";
import { readOwnFile } from "../system/index.ts";
import { readPlainYaml } from "../policy/index.ts";
import { parseScramConfig, type ScramConfig } from "../scram/index.ts";

/** What `config.yaml` sets, and what holds for the rest. */
export interface Config {
  readonly scram: ScramConfig;
  readonly database: { readonly url: string | null };
  readonly keys: { readonly enrol: "automatic" | "manual" };
  readonly content: z.infer<typeof content>;
  readonly oidc: z.infer<typeof oidc>;
  /** What the file itself says, by its dotted name. */
  readonly given: ReadonlyMap<string, JsonValue>;
}

const database = z.strictObject({ url: z.string().min(1).max(4096).nullable().default(null) });

/** A server that others could read along with has TLS; one on this machine need not. */
const serverUrl = z
  .url()
  .max(2048)
  .refine((text) => {
    if (!URL.canParse(text)) return false;
    const { protocol, hostname, username, search, hash } = new URL(text);
    const isOwn = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
    const isSafe = protocol === "https:" || (protocol === "http:" && isOwn);
    return isSafe && username === "" && search === "" && hash === "";
  }, "expected https://HOST[:PORT][/PATH], or http:// to this machine, without a user and a query");

/** Where runs keep what every node must reach. */
export const content = z
  .strictObject({
    store: z.enum(["none", "database", "folder", "s3"]).nullable().default(null),
    folder: z.string().startsWith("/").max(4096).nullable().default(null),
    endpoint: serverUrl.nullable().default(null),
    bucket: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/)
      .nullable()
      .default(null),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,64}$/)
      .default("us-east-1"),
    prefix: z
      .string()
      .regex(/^([A-Za-z0-9_-][A-Za-z0-9._-]*\/)*$/, "expected folders, each with a / behind it")
      .max(512)
      .default(""),
  })
  .refine(({ store, folder }) => store !== "folder" || folder !== null, {
    path: ["folder"],
    message: "the store folder needs it: the path of a folder that all nodes mount",
  })
  .refine(
    ({ store, endpoint, bucket }) => store !== "s3" || (endpoint !== null && bucket !== null),
    {
      path: ["endpoint"],
      message: "the store s3 needs it, and the bucket",
    },
  );

const claim = z.string().min(1).max(200);

/** Whose tokens the HTTP API takes besides our own; without an issuer nobody's. */
export const oidc = z
  .strictObject({
    issuer: serverUrl.pipe(fields.oidcIssuer).nullable().default(null),
    audience: z.string().min(1).max(200).nullable().default(null),
    tenant_claim: claim.nullable().default(null),
    scope_claim: claim.default("scope"),
    scopes: z
      .record(z.string().max(200), z.array(z.enum(API_SCOPES)).min(1))
      .nullable()
      .default(null),
    tenants: z.array(fields.name).min(1).max(10_000).nullable().default(null),
    allow_loopback_http: z.boolean().default(false),
  })
  .refine(({ issuer, audience, tenant_claim }) => oneKind([issuer, audience, tenant_claim]), {
    path: ["issuer"],
    message: "expected issuer, audience and tenant_claim together, or none of them",
  })
  .refine(
    ({ issuer, allow_loopback_http }) => allow_loopback_http || !issuer?.startsWith("http:"),
    {
      path: ["issuer"],
      message:
        "expected https://. For tests, allow_loopback_http: true takes http:// to this machine",
    },
  );

function oneKind(values: readonly unknown[]): boolean {
  return values.every((value) => value === null) || values.every((value) => value !== null);
}

const keys = z.strictObject({ enrol: z.enum(["automatic", "manual"]).default("automatic") });

/**
 * The settings for whoever must be able to stop whatever stands in the place of the configuration:
 * then those of the law hold. No work begins meanwhile, because {@link loadConfig} refuses.
 *
 * @param onRefusal told why the configuration does not hold
 */
export function loadSwitchConfig(home: string, onRefusal: (why: string) => void): ScramConfig {
  try {
    return loadConfig(home).scram;
  } catch (error) {
    onRefusal(error instanceof Error ? error.message : "config.yaml cannot be read");
    return parseScramConfig(undefined);
  }
}

const SECTIONS: readonly string[] = ["scram", "database", "keys", "content", "oidc"];

/**
 * Read `config.yaml` of a data folder. Without one, the defaults hold.
 *
 * @throws ERR_SCRAM_CONFIG, ERR_DATA_FOLDER
 */
export function loadConfig(home: string): Config {
  const path = join(home, "config.yaml");
  const bytes = readConfigFile(path);
  const value: unknown = bytes === null ? {} : readPlainYaml(bytes, path, DOOR).value;
  const sections = (value ?? {}) as Record<string, unknown>;
  const unknown = Object.keys(sections).find((name) => !SECTIONS.includes(name));
  if (typeof sections !== "object" || Array.isArray(sections) || unknown !== undefined) {
    const found = unknown === undefined ? "something else" : `"${unknown}"`;
    const known = SECTIONS.map((name) => `"${name}"`).join(", ");
    throw malformed(path, `expected the sections ${known}, found ${found}`);
  }
  return {
    scram: parseSwitch(sections["scram"], path),
    database: parseSection(database, "database", sections, path),
    keys: parseSection(keys, "keys", sections, path),
    content: parseSection(content, "content", sections, path),
    oidc: parseSection(oidc, "oidc", sections, path),
    given: givenBy(sections),
  };
}

/** The code says that it is the kill switch's section, and the text where it stands. */
function parseSwitch(value: unknown, path: string): ScramConfig {
  try {
    return parseScramConfig(value);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    const text = `Cannot use ${path}: ${error.message} Mend it, or move it away: then the defaults hold.`;
    throw new SovereignError(error.code, text, { path }, error);
  }
}

/** @throws ERR_DATA_FOLDER, whatever keeps it from being read */
function readConfigFile(path: string): Buffer | null {
  try {
    return readOwnFile(path, DOOR.bytesMax);
  } catch (error) {
    if (isSovereignError(error)) throw error;
    const why = error instanceof Error ? error.message : "unknown";
    const message = `Cannot read ${path}: ${why}. Mend it, or set SOVEREIGN_HOME to a folder that you own.`;
    throw new SovereignError("ERR_DATA_FOLDER", message, { path }, error);
  }
}

function parseSection<T>(
  format: z.ZodType<T>,
  name: string,
  sections: Readonly<Record<string, unknown>>,
  path: string,
): T {
  const result = readFormat(format, sections[name] ?? {});
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const at = [name, ...(issue?.path.map(String) ?? [])].join(".");
  throw malformed(path, `at ${at}: ${issue?.message ?? "no match"}`);
}

/** The sections were held against their formats: what stands in them is set. */
function givenBy(sections: Readonly<Record<string, unknown>>): Map<string, JsonValue> {
  return new Map(
    Object.entries(sections).flatMap(([section, values]) =>
      Object.entries((values ?? {}) as Record<string, JsonValue>).map(
        ([name, value]): [string, JsonValue] => [`${section}.${name}`, value],
      ),
    ),
  );
}

const DOOR = {
  bytesMax: 64 * 1024,
  tooLarge: "ERR_DATA_FOLDER",
  syntax: "ERR_DATA_FOLDER",
} as const;

function malformed(path: string, why: string): SovereignError {
  return new SovereignError("ERR_DATA_FOLDER", `Cannot use ${path}: ${why}.`, { path });
}

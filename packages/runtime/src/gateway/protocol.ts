import {
  base64Decode,
  entryData,
  type ErrorCode,
  errorCatalogue,
  fields,
  isSovereignError,
} from "@sovereign/core";
import { z } from "zod";

const id = z.int().min(0);
const text = z.string().max(4000);
const code = z.custom<ErrorCode>(
  (value) => typeof value === "string" && Object.hasOwn(errorCatalogue, value),
  "expected a code of the catalogue",
);
const { connection, host, port, address } = entryData["egress.connected"].shape;
const { ended, sent, received } = entryData["egress.closed"].shape;

/** The one place that a step may reach, as the control says. */
const place = z.strictObject({
  host,
  port,
  /** True where its own address may be a private one: the policy names it exactly. */
  isOpen: z.boolean(),
});
export type GrantedPlace = z.infer<typeof place>;

/** What a control tells the gateway that it started. */
export const toGateway = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("grant"),
    id,
    grant: id,
    owner: z.strictObject({ tenant_id: fields.name, run_id: fields.runId }),
    token_sha256: fields.digest,
    place,
    /** Names of the secrets that the step refers to. */
    secrets: z.array(z.string().max(61)).max(32),
  }),
  /** Cut what it has open, record the ends, and forget it. */
  z.strictObject({ type: z.literal("revoke"), id, grant: id }),
  z.strictObject({ type: z.literal("stop"), reason: text }),
  /** Answers: it is recorded; under a name where it is a connection's beginning. */
  z.strictObject({ type: z.literal("allowed"), id, connection: connection.nullable() }),
  z.strictObject({ type: z.literal("refused"), id, code, reason: text }),
]);
export type ToGateway = z.infer<typeof toGateway>;

/** What a gateway tells, and asks, the control that started it. */
export const fromGateway = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ready") }),
  z.strictObject({ type: z.literal("done"), id }),
  z.strictObject({ type: z.literal("failed"), id, code, reason: text }),
  z.strictObject({ type: z.literal("connected"), id, grant: id, host, port, address }),
  z.strictObject({ type: z.literal("closed"), id, grant: id, connection, ended, sent, received }),
  z.strictObject({
    type: z.literal("refused"),
    id,
    grant: id,
    host: z.string().max(300),
    code,
    reason: text,
  }),
]);
export type FromGateway = z.infer<typeof fromGateway>;

/** What the host may send and receive at once. */
export const BODY_BYTES_MAX = 1024 * 1024;
/** A body in base64, and what stands around it. */
export const LINE_BYTES_MAX = 2 * BODY_BYTES_MAX;

const token = z.string().regex(/^[0-9a-f]{64}$/);
const bytes = z
  .string()
  .max(Math.ceil(BODY_BYTES_MAX / 3) * 4 + 4)
  .transform((value, context) => {
    try {
      return Buffer.from(base64Decode(value));
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      context.issues.push({ code: "custom", message: "expected base64", input: value });
      return z.NEVER;
    }
  });
const headerText = z
  .string()
  .max(8192)
  .regex(/^[\x20-\x7e]*$/);

const httpAsk = z.strictObject({
  kind: z.literal("http"),
  token,
  url: z.string().max(4000),
  method: z.string().regex(/^[A-Z]{1,20}$/),
  /** Their values may refer to secrets. */
  headers: z.record(z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/), headerText),
  /** HTTP authentication by name and password; either may refer to a secret. */
  basic: z.strictObject({ user: headerText, password: headerText }).exactOptional(),
  /** Sign the body as Standard Webhooks says, by a secret. */
  webhook: z
    .strictObject({ id: z.string().regex(/^[\x21-\x7e]{1,200}$/), secret: headerText })
    .exactOptional(),
  body: bytes.nullable(),
});
export type HttpAsk = z.infer<typeof httpAsk>;

const server = z.string().max(260);
const login = z.strictObject({ user: headerText, password: headerText });
const mailbox = z
  .string()
  .max(260)
  .regex(/^[^\s<>",;:@]+@[^\s<>",;:]+$/);

const mailAsk = z.strictObject({
  kind: z.literal("mail"),
  token,
  server,
  tls: z.enum(["starttls", "implicit", "none"]),
  login: login.nullable(),
  message: z.strictObject({
    from: mailbox,
    to: mailbox,
    reply_to: mailbox.nullable(),
    subject: z.string().max(1000),
    text: z.string().max(100_000),
    html: z.string().max(100_000).nullable(),
    message_id: z.string().max(300),
  }),
});
export type MailAsk = z.infer<typeof mailAsk>;

const postgresAsk = z.strictObject({
  kind: z.literal("postgres"),
  token,
  server,
  database: z.string().max(63),
  tls: z.enum(["require", "none"]),
  login,
  sql: z.string().min(1).max(20_000),
  values: z.array(z.union([z.string(), z.number(), z.boolean(), z.null()])).max(100),
  max_rows: z.int().min(1).max(10_000),
  read_only: z.boolean(),
});
export type PostgresAsk = z.infer<typeof postgresAsk>;

/** What a skill host asks for: one line of JSON. Untrusted. */
export const gatewayAsk = z.discriminatedUnion("kind", [httpAsk, mailAsk, postgresAsk]);
export type GatewayAsk = z.infer<typeof gatewayAsk>;

import { entryData, type ErrorCode, fields, isErrorCode } from "@sovereign/core";
import { z } from "zod";

const id = z.int().min(0);
const text = z.string().max(4000);
const code = z.custom<ErrorCode>(isErrorCode, "expected a code of the catalogue");
const { connection, host, port, address } = entryData["egress.connected"].shape;
const { ended, sent, received } = entryData["egress.closed"].shape;

export const egressLimits = z.strictObject({
  openMax: z.int().min(1).max(256).default(16),
  connectionsMax: z.int().min(1).max(100_000).default(1000),
  bytesMax: fields.count.default(1024 * 1024 * 1024),
  helloMs: z.int().min(1).max(600_000).default(10_000),
  connectMs: z.int().min(1).max(600_000).default(10_000),
  idleMs: z.int().min(1).max(3_600_000).default(300_000),
});
/** Bounds of one step's connections. Each holds for whatever a client or a host sends. */
export type EgressLimits = z.infer<typeof egressLimits>;

/** What a control tells the proxy that it started. */
export const toEgress = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("open"),
    id,
    owner: z.strictObject({ tenant_id: fields.name, run_id: fields.runId }),
    token_sha256: fields.digest,
    limits: egressLimits.partial(),
  }),
  z.strictObject({ type: z.literal("stop"), reason: text }),
  /** Answers: it is allowed, or recorded; under a name where it is a connection's beginning. */
  z.strictObject({ type: z.literal("allowed"), id, connection: connection.nullable() }),
  z.strictObject({ type: z.literal("refused"), id, code, reason: text }),
  /** Record the ends of all connections, and answer when that is done. */
  z.strictObject({ type: z.literal("close"), id }),
]);
export type ToEgress = z.infer<typeof toEgress>;

/** What a proxy tells, and asks, the control that started it. */
export const fromEgress = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ready") }),
  z.strictObject({ type: z.literal("done"), id }),
  z.strictObject({ type: z.literal("failed"), id, code, reason: text }),
  z.strictObject({ type: z.literal("decide"), id, host, port }),
  z.strictObject({ type: z.literal("connected"), id, host, port, address }),
  z.strictObject({ type: z.literal("closed"), id, connection, ended, sent, received }),
  z.strictObject({
    type: z.literal("refused"),
    id,
    host: z.string().max(300),
    code,
    reason: text,
  }),
]);
export type FromEgress = z.infer<typeof fromEgress>;

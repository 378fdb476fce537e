import { type ErrorCode, fields, formats, isErrorCode } from "@sovereign/core";
import { z } from "zod";

/** Names of the sockets in the kill switch's folder. */
export const SENTINEL_SOCKET = "sentinel.sock";
export const ENGINE_SOCKET = "engine.sock";
/** In the place of a connection: the path by which the switch proves itself. */
export const SELF_PROOF_LINK = "self-proof";

const id = z.int().min(0);
const pathId = z.string().regex(/^[A-Za-z0-9_.-]{1,128}$/);
const peer = z.string().max(100);
const errorCode = z.custom<ErrorCode>(isErrorCode);
const process = z.strictObject({ pid: z.int().min(1), started: z.string().max(40) });

/** What a control, an operator's command or an embedding program may say to the sentinel. */
export const clientMessage = z.discriminatedUnion("t", [
  z.strictObject({ t: z.literal("hello"), id, process }),
  z.strictObject({ t: z.literal("ping"), id }),
  z.strictObject({ t: z.literal("status"), id }),
  z.strictObject({ t: z.literal("engine"), id }),
  /** Kill one path of this connection; answered when it is dead. */
  z.strictObject({ t: z.literal("kill"), id, path_id: pathId }),
  z.strictObject({ t: z.literal("order"), id, envelope: fields.json }),
  z.strictObject({ t: z.literal("authorize"), id, envelope: fields.json }),
  /** An order that came over a network, and from where. */
  z.strictObject({ t: z.literal("present"), id, envelope: fields.json, from: peer }),
  /** How many the door to the network refused by itself since it told last. */
  z.strictObject({
    t: z.literal("refusals"),
    id,
    code: errorCode,
    from: peer,
    count: fields.count,
  }),
  z.strictObject({ t: z.literal("pending"), id }),
  z.strictObject({ t: z.literal("resettable"), id }),
  z.strictObject({ t: z.literal("reset"), id, envelope: fields.json, commit: z.boolean() }),
  z.strictObject({
    t: z.literal("register"),
    id,
    path_id: pathId,
    tenant_id: fields.name,
    run_id: fields.runId,
    /** True for a path with a termination handler, false for a hook that runs after the kill. */
    handler: z.boolean(),
  }),
  z.strictObject({ t: z.literal("unregister"), id, path_id: pathId }),
  z.strictObject({ t: z.literal("terminated"), id, path_id: pathId, ok: z.boolean() }),
  /** All orders that stood in the log at `read_at`, of the machine's clock, have been handed over. */
  z.strictObject({ t: z.literal("lease"), id, read_at: z.number().min(0) }),
  /** An order that another node carried out at `at`, as the log has it. */
  z.strictObject({
    t: z.literal("peer"),
    id,
    envelope: fields.json,
    at: fields.timestamp,
    origin: formats.scramOrigin,
  }),
]);
export type ClientMessage = z.infer<typeof clientMessage>;

/** What the sentinel says. `reply` answers the message of that id. */
export const sentinelMessage = z.discriminatedUnion("t", [
  z.strictObject({ t: z.literal("reply"), id, result: fields.json }),
  z.strictObject({
    t: z.literal("refusal"),
    id,
    code: errorCode,
    message: z.string(),
  }),
  z.strictObject({
    t: z.literal("tripped"),
    event_id: fields.scramEventId,
    scope: formats.scramScope,
    reason: formats.scramReason,
  }),
  z.strictObject({ t: z.literal("terminate"), path_id: pathId, deadline_ms: z.int().min(0) }),
  /** Work may run, as far as other machines are concerned; or it may not, and is dead. */
  z.strictObject({ t: z.literal("lease"), live: z.boolean() }),
  /** A stop was carried out and is in the journal, for who takes that into the ledger. */
  z.strictObject({ t: z.literal("recorded") }),
]);
export type SentinelMessage = z.infer<typeof sentinelMessage>;

/** A path that is set up behind its closed gate. */
export const startedPath = z.strictObject({
  path_id: pathId,
  /** The connection to the sentinel of the control that asked for it. */
  link_id: z.string().max(40),
  tenant_id: fields.name,
  run_id: fields.runId,
  outer: process,
  inner: process.nullable(),
  pid_namespace: z.string().max(40).nullable(),
  groups: z.array(z.string().max(4096)).max(8),
});
export type StartedPathMessage = z.infer<typeof startedPath>;

/** What the engine says to the sentinel. */
export const engineMessage = z.discriminatedUnion("t", [
  z.strictObject({ t: z.literal("ready") }),
  z.strictObject({ t: z.literal("started"), path: startedPath }),
  z.strictObject({ t: z.literal("ended"), path_id: pathId }),
]);
export type EngineMessage = z.infer<typeof engineMessage>;

/** What the sentinel says to the engine: only then may the gate open. */
export const engineOrder = z.discriminatedUnion("t", [
  z.strictObject({ t: z.literal("admitted"), path_id: pathId }),
  z.strictObject({
    t: z.literal("refused"),
    path_id: pathId,
    reason: z.string(),
    code: errorCode,
  }),
]);
export type EngineOrder = z.infer<typeof engineOrder>;

import { z } from "zod";
import {
  count,
  digest,
  installationId,
  jsonObject,
  keyId,
  name,
  nodeId,
  nonce,
  runId,
  schemaVersion,
  timestamp,
} from "./common.ts";

/** Why a kill switch may be thrown: the nine reasons, and no other. */
export const scramReason = z.enum([
  "operator_initiated",
  "architect_initiated",
  "invariant_violation",
  "security_breach",
  "governance_mandate",
  "system_critical",
  "constitutional_override",
  "sentinel_trigger",
  "chronos_deadline",
]);
export type ScramReason = z.infer<typeof scramReason>;

/** What an order stops: everything, one tenant's work, or one run. */
export const scramScope = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("all") }),
  z.strictObject({ kind: z.literal("tenant"), tenant_id: name }),
  z.strictObject({ kind: z.literal("run"), run_id: runId }),
]);
export type ScramScope = z.infer<typeof scramScope>;

export const scramState = z.enum(["ARMED", "ACTIVATING", "EXECUTING", "COMPLETE", "FAILED"]);
export type ScramState = z.infer<typeof scramState>;

/** `SCRAM-` and the instant to the microsecond, in UTC. */
export const scramEventId = z.string().regex(/^SCRAM-\d{20}$/, "expected SCRAM- and 20 digits");

const signedRequest = {
  installation_id: installationId,
  nonce,
  issued_at: timestamp,
  expires_at: timestamp,
};

/** "Stop." Signed by one key enrolled as operator and one enrolled as architect. */
export const scramOrder = z.strictObject({
  ...signedRequest,
  order_id: z.string().regex(/^ord_[a-z0-9]{20}$/, "expected ord_ and 20 of a-z 0-9"),
  scope: scramScope,
  reason: scramReason,
  statement: z.string().max(500).nullable(),
  metadata: jsonObject,
});
export type ScramOrder = z.infer<typeof scramOrder>;

/** "Go on." Signed as an order is; names the stops that it lifts, so that it lifts no other. */
export const scramReset = z.strictObject({
  ...signedRequest,
  reset_id: z.string().regex(/^rst_[a-z0-9]{20}$/, "expected rst_ and 20 of a-z 0-9"),
  event_ids: z.array(scramEventId).min(1).max(1000),
  statement: z.string().min(1).max(500),
});
export type ScramReset = z.infer<typeof scramReset>;

export const scramInvariant = z.enum([
  "INV-SYS-002",
  "INV-SCRAM-001",
  "INV-SCRAM-002",
  "INV-SCRAM-003",
  "INV-SCRAM-004",
  "INV-SCRAM-005",
  "INV-SCRAM-006",
  "INV-GOV-003",
]);
export type ScramInvariant = z.infer<typeof scramInvariant>;

/** What caused a termination. */
export const scramTrigger = z.enum([
  "order",
  /** An order that another node carried out: its two keys were verified here again. */
  "peer",
  "refused_order",
  "signal_file",
  "sentinel_fault",
  "engine_fault",
  "invariant",
]);
export type ScramTrigger = z.infer<typeof scramTrigger>;

/** Where in the installation's log a node found an order that another one had carried out. */
export const scramOrigin = z.strictObject({ node_id: nodeId, index: count });
export type ScramOrigin = z.infer<typeof scramOrigin>;

const milliseconds = z.number().min(0);

/** One execution path as a kill found it. */
export const scramPath = z.strictObject({
  path_id: z.string().max(128),
  tenant_id: name,
  run_id: runId,
});

/** A process that did not die: never called dead, but named with its state. */
export const scramStraggler = z.strictObject({
  pid: count,
  /** `D` is uninterruptible sleep, which no signal reaches. */
  state: z.string().max(1),
});

/** What the sentinel did and found, signed by its own key. Times are from the order's receipt. */
export const killReceipt = z.strictObject({
  installation_id: installationId,
  event_id: scramEventId,
  scope: scramScope,
  reason: scramReason,
  trigger: scramTrigger,
  /** True when two distinct keys, an operator's and an architect's, signed for it. */
  authorized: z.boolean(),
  /** Why it was not, if it was not. */
  refusal: z.string().max(500).nullable(),
  order_digest: digest.nullable(),
  operator_key: keyId.nullable(),
  architect_key: keyId.nullable(),
  started_at: timestamp,
  /** Lost when the sentinel died in between, and another finished its work. */
  t_signalled_ms: milliseconds.nullable(),
  t_reaped_ms: milliseconds.nullable(),
  /** The strongest means of killing that was at hand: a control group, or namespaces. */
  rung: z.enum(["G3", "G2", "G0"]),
  paths: z.array(scramPath).max(10_000),
  processes: count,
  stragglers: z.array(scramStraggler).max(1000),
  /** Found by a sweep of the process table and not in the list of paths. */
  unregistered: count,
  hooks: z.array(
    z.strictObject({ id: z.string().max(128), outcome: z.enum(["ok", "failed", "timeout"]) }),
  ),
  errors: z.array(z.string().max(300)).max(100),
});
export type KillReceipt = z.infer<typeof killReceipt>;

/** What came of the kill switch's own trial: a path of its own, started, killed and looked for. */
export const scramSelfProof = z.strictObject({
  installation_id: installationId,
  started_at: timestamp,
  outcome: z.enum(["passed", "failed"]),
  /** From the kill to verified death, and what it may take. */
  t_reaped_ms: milliseconds.nullable(),
  bound_ms: count,
  rung: z.enum(["G3", "G2", "G0"]),
  backend: z.enum(["bubblewrap", "container", "none"]),
  processes: count,
  /** Found alive by a sweep of the process table afterwards. */
  survivors: count,
  failure: z.string().max(300).nullable(),
});
export type ScramSelfProof = z.infer<typeof scramSelfProof>;

/** The audit event of one activation. Kept for ever. */
export const scramEvent = z.strictObject({
  format: z.literal("sovereign.scram-event"),
  schema_version: schemaVersion,
  event_id: scramEventId,
  timestamp,
  scram_state: scramState,
  reason: scramReason,
  operator_key_hash: keyId.nullable(),
  architect_key_hash: keyId.nullable(),
  execution_paths_terminated: count,
  termination_latency_ms: milliseconds.nullable(),
  invariants_checked: z.array(scramInvariant),
  invariants_passed: z.array(scramInvariant),
  invariants_failed: z.array(scramInvariant),
  /** True when a hardware watchdog is held. */
  hardware_sentinel_ack: z.boolean(),
  receipt_digest: digest,
  metadata: jsonObject,
  /** Hash of the sentinel's journal before this event: what anchors it while the database is down. */
  journal_head: digest,
  /** SHA-256 of the canonical form of all other fields. */
  content_hash: digest,
});
export type ScramEvent = z.infer<typeof scramEvent>;

import { z } from "zod";
import { artifactRef, count, digest, json, name, runId, timestamp } from "./common.ts";

/** The record of one run's steps: it has its run's identifier after `trc_`. */
export const traceId = z.string().regex(/^trc_[a-z0-9]{20}$/, "expected trc_ and 20 of a-z 0-9");

/**
 * How a step of a trace stands. `unknown`: it was begun, and nobody recorded its end. `refused`: it was
 * never begun. `skipped`: the plan's own condition left it out.
 */
const traceStatus = z.enum([
  "running",
  "completed",
  "failed",
  "killed",
  "unknown",
  "refused",
  "skipped",
]);

/** One attempt of one step, whole: the digest of this, in canonical form, is what a run's proof is over. */
export const traceStep = z.strictObject({
  trace_id: traceId,
  run_id: runId,
  tenant_id: name,
  /** From 0, in the order in which the ledger first names them. */
  index: count,
  step_id: z.string().max(128),
  /** 0 for a step that was left out. */
  attempt: count,
  /** The skill's name; of another action its type. */
  skill: z.string().max(100),
  skill_version: z.string().max(40).nullable(),
  /** What it acts on: a host, a table, a channel. */
  resource: z.string().max(1024).nullable(),
  action_digest: digest.nullable(),
  /** The action's parameters; null where the ledger names it by digest alone. */
  input: json,
  input_digest: digest.nullable(),
  output: json,
  output_digest: digest.nullable(),
  artifacts: z.array(artifactRef),
  status: traceStatus,
  /** The event that ended it, such as `completed` or `denied`; null while it runs. */
  category: z.string().max(40).nullable(),
  code: z.string().max(80).nullable(),
  reason: z.string().max(4000).nullable(),
  /** Millionths of a dollar, as the skill says. */
  cost_microusd: count,
  duration_ms: count.nullable(),
  /** The same for every attempt of a step; null where nothing was begun. */
  idempotency_key: digest.nullable(),
  started_at: timestamp,
  ended_at: timestamp.nullable(),
  /** The numbers of the entries in the run's stream that began and ended it. */
  begun_by: count.nullable(),
  ended_by: count.nullable(),
});
export type TraceStep = z.infer<typeof traceStep>;

export const traceHead = z.strictObject({
  trace_id: traceId,
  run_id: runId,
  tenant_id: name,
  plan_digest: digest,
  status: z.enum(["running", "completed", "failed", "halted"]),
  started_at: timestamp,
  completed_at: timestamp.nullable(),
  step_count: count,
  /** Of the chain over all steps; null until the run is sealed. */
  root_hash: digest.nullable(),
});
export type TraceHead = z.infer<typeof traceHead>;

/** What a run's proof says of its trace. */
export const traceSeal = z.strictObject({
  trace_id: traceId,
  model: z.literal("HASH_CHAIN"),
  root_hash: digest,
  chain_length: count,
});
export type TraceSeal = z.infer<typeof traceSeal>;

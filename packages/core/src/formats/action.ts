import { z } from "zod";
import { count, digest, jsonObject, mode, name, runId } from "./common.ts";

/**
 * The one thing that a kernel executes. `type` is noun.verb and open for more; `resource` is what
 * it acts on (an executable, a path, a host, a model's name). The action digest is the SHA-256 of
 * the canonical form, so a binding for one action is good for no other.
 */
export const action = z.strictObject({
  type: z.string().regex(/^[a-z][a-z0-9_]{0,40}\.[a-z_][a-z0-9_]{0,40}$/, "expected noun.verb"),
  resource: z.string().min(1).max(1024),
  params: jsonObject,
});
export type Action = z.infer<typeof action>;

/** Where an action happens. The context digest is the SHA-256 of the canonical form. */
export const actionContext = z.strictObject({
  tenant_id: name,
  run_id: runId,
  /** Unique in the run, such as `train_candidate` or `agents.planner`. */
  step_id: z.string().regex(/^[a-z][a-z0-9_.-]{0,126}$/),
  /** From 1; a repeat of a step after a crash is the next attempt. */
  attempt: z.int().min(1),
  role: name,
  mode,
  config_digest: digest,
  policy_digest: digest,
});
export type ActionContext = z.infer<typeof actionContext>;

/** The dialect of policies that is spoken now. */
export const POLICY_DIALECT = 7;
/** Those that decisions name: each has its table of host-run files. */
export const dialect = z.union([
  z.literal(2),
  z.literal(3),
  z.literal(4),
  z.literal(5),
  z.literal(6),
  z.literal(POLICY_DIALECT),
]);
export type Dialect = z.infer<typeof dialect>;

/** What the policy engine decided, and why: one line of the policy resolution trace. */
export const policyDecision = z.strictObject({
  effect: z.enum(["allow", "deny", "step_up"]),
  /** The ids of the rules that decided; empty for a default deny. */
  rules: z.array(z.string().max(400)).max(100),
  reasons: z.array(z.string().max(500)).max(100),
  /** How many of which roles must approve; only with `step_up`. */
  approvals: z.strictObject({ required: z.int().min(1), roles: z.array(name).min(1) }).nullable(),
  policy_digest: digest,
  request_digest: digest,
  /** True where the policy only observes, and this would have been denied. */
  observed: z.boolean(),
  /**
   * What patterns and the table of host-run files meant to whoever decided. Absent in decisions
   * that were made before there was a second meaning; every decision that is made now has it.
   */
  dialect: dialect.exactOptional(),
});
export type PolicyDecision = z.infer<typeof policyDecision>;

export const usage = z.strictObject({
  wall_ms: count,
  output_bytes: count,
});
export type Usage = z.infer<typeof usage>;

import {
  type ErrorCode,
  fields,
  type JsonObject,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { type CheckedPlan, planFile, PLANNERS } from "../../planning/index.ts";

const identifier = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,126}$/,
    "expected 1 to 127 of A-Z a-z 0-9 _ . : @ -, starting with a letter or a digit",
  );

/** Whose goal it is, and who asked. */
export const goalWords = z.strictObject({
  goal: z
    .string()
    .min(1)
    .max(4000)
    .refine((text) => text.isWellFormed() && !text.includes("\0"), "expected a text"),
  agent_id: identifier,
  origin_system_id: identifier,
  /** Submitted again under the same key, it is the same run. */
  idempotency_key: z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, "expected 1 to 200 printable characters without spaces")
    .exactOptional(),
});
export type GoalWords = z.infer<typeof goalWords>;

const { steps, ...rest } = planFile.shape;

const plannedBy = z.strictObject({
  vendor: fields.name,
  model: z.string().max(200),
  run_id: fields.runId,
  answer_sha256: fields.digest,
});
export type PlannedBy = z.infer<typeof plannedBy>;

const amount = z.int().min(1).nullable();

/** The plan of a goal's run, as it is stored with the run: its digest stands in the first entry. */
const goalPlan = z.strictObject({
  kind: z.literal("goal"),
  ...goalWords.shape,
  /** Who made the steps. */
  planner: z.enum(PLANNERS),
  /** The model that made them, the run in which it was asked, and its answer. */
  planned_by: plannedBy.exactOptional(),
  role: fields.name,
  policy_digest: fields.digest,
  /** The run's own limits. */
  budget: z
    .strictObject({ microusd: amount, tokens: amount, steps: amount, ms: amount })
    .exactOptional(),
  ...rest,
  steps: z.array(z.strictObject({ ...steps.element.shape, version: z.string() })),
});
export type GoalPlan = z.infer<typeof goalPlan> & CheckedPlan;

/**
 * Open the plan that a run was stored with.
 * @param bytes untrusted: whoever holds the database may have changed them
 * @throws ERR_PLAN_MISSING, ERR_RUN_DIVERGED
 */
export function openGoalPlan(
  runId: string,
  bytes: Uint8Array,
): { readonly plan: JsonObject; readonly goal: GoalPlan } {
  const plan = parseCanonicalJson(bytes) as JsonObject;
  const found = plan["steps"];
  if (!Array.isArray(found) || found.length === 0) {
    const text = `Run ${runId} has no plan, so nothing of it is done. Start a new run with --plan or --planner.`;
    throw new SovereignError("ERR_PLAN_MISSING", text, { runId });
  }
  const code: ErrorCode = "ERR_RUN_DIVERGED";
  return { plan, goal: parseFormat(goalPlan, plan, `plan of run ${runId}`, code) };
}

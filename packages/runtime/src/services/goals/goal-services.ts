import { existsSync } from "node:fs";
import {
  digestOf,
  type ErrorCode,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseFormat,
  quoted,
  SovereignError,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import { z } from "zod";
import { INSTALLATION_KEYS } from "../../authority/index.ts";
import { type Settings, tenantPolicyFile } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import {
  checkPlan,
  type CheckedPlan,
  type Plan,
  type PlannerName,
  planWithStub,
  readPlanFile,
  withInputs,
} from "../../planning/index.ts";
import { parsePolicy } from "../../policy/index.ts";
import { checkTenant, type RunRow } from "../../runs/index.ts";
import { type AskedModel, type PinOwn, pinTo, SKILLS, type Skill } from "../../skills/index.ts";
import { ownSkillsOf } from "../skill-services.ts";
import { checkLimits, type NamedLimits, NO_LIMITS } from "../budgets/limits.ts";
import type { Opened } from "../opened.ts";
import { askedRoles } from "../runs/asked-roles.ts";
import { enrolFirstUse } from "../runs/first-use.ts";
import { type RunOptions, submitRun } from "../runs/lifecycle.ts";
import { demandsOf } from "../runs/open-session.ts";
import { proveAndTell } from "../incidents/integrity-incident.ts";
import { type RunInput, type RunReport, type RunResult, reportOf } from "../runs/run-result.ts";
import { describeTrace } from "../runs/run-trace.ts";
import { isPublished, publishedAt } from "../runs/seal-run.ts";
import type { Services } from "../services.ts";
import { placeInQueue } from "../workers/queue-place.ts";
import { GOAL, type GoalInput, planToStore } from "./goal-kind.ts";
import { type GoalWords, goalWords, openGoalPlan } from "./goal-plan.ts";
import { planByModel } from "./plan-by-model.ts";

/** A goal, as whoever submits it says it. */
export interface GoalRunInput extends RunInput {
  readonly goal: string;
  readonly agentId: string;
  readonly originSystemId: string;
  /** A plan's file; null where the planner makes the plan. */
  readonly planFile: string | null;
  /** A plan in the place of a file. */
  readonly plan?: Plan | null;
  readonly planner: Exclude<PlannerName, "question">;
  /** Whom the planner `model` asks. */
  readonly plannerModel?: AskedModel | null;
  /** A policy's file; null for the tenant's own, in the data folder. */
  readonly policyFile: string | null;
  /** Values in the place of the plan's own inputs. */
  readonly inputs: Readonly<Record<string, JsonValue>>;
  readonly role: string;
  /** Submitted again under the same key, it is the same run; null for none. */
  readonly idempotencyKey: string | null;
  /** What the run may use; empty for no limit. */
  readonly limits: NamedLimits;
  /** Set where a worker is to carry it out; null to do so now. From -100 to 100. */
  readonly priority: number | null;
}

/** What people are told of a skill. */
export interface SkillReport {
  readonly name: string;
  readonly version: string;
  readonly text: string;
  readonly reversible: boolean;
  readonly input: JsonObject;
  readonly output: JsonObject;
}

/** Goals of tenants, and what is asked of any run afterwards. */
export function goalServices(
  settings: Settings,
  opened: Opened,
): Pick<Services, "runGoal" | "proveRun" | "traceRun" | "listSkills"> {
  return {
    runGoal: (input) => opened((installation) => runGoal(settings, installation, input)),
    proveRun: (tenantId, runId) =>
      opened((installation) => proveAndTell(installation, tenantId, runId)),
    traceRun: (tenantId, runId) =>
      opened((installation) => describeTrace(installation, tenantId, runId)),
    listSkills: () => Object.values(SKILLS).map(skillReport),
  };
}

async function runGoal(
  settings: Settings,
  installation: Installation,
  input: GoalRunInput,
): Promise<RunReport> {
  const { tenantId, role } = input;
  checkTenant(tenantId);
  const { idempotencyKey } = input;
  const asked = {
    goal: input.goal,
    agent_id: input.agentId,
    origin_system_id: input.originSystemId,
    ...(idempotencyKey === null ? {} : { idempotency_key: idempotencyKey }),
  };
  const words = parseFormat(goalWords, asked, "the goal", INVALID);
  const named = checkLimits(input.limits);
  const budget = Object.keys(named).length === 0 ? null : { ...NO_LIMITS, ...named };
  // The plan stands before anything is made: a run without one is never begun.
  const pinOwn = pinTo(ownSkillsOf(installation.folder.root, tenantId));
  const given = modelOf(input) ?? planOf(input, pinOwn);
  const policyFile = input.policyFile ?? tenantPolicy(settings.home, tenantId);
  const policy = parsePolicy(readNamed(policyFile), policyFile);
  const slots = [...INSTALLATION_KEYS, { purpose: "role", role } as const];
  await installation.keyLog.ensure(installation.keystore, slots);
  await enrolFirstUse(installation, settings, { role, asks: askedRoles(policy) }, input);
  const { priority } = input;
  const options = { ...input, installation, allowCompatible: false, waitMs: 0 };
  const demands = demandsOf(policy);
  const queueFor = ({ steps }: CheckedPlan): Pick<RunOptions, "queue"> =>
    priority === null
      ? {}
      : { queue: placeInQueue(installation, { role, steps, demands }, priority) };
  const { planner } = input;
  const about = { words, planner, policy, role, budget, mode: "sovereign" } as const;
  const find = (isSame: (row: RunRow) => boolean): Promise<RunReport | null> =>
    findSubmitted(installation, tenantId, words, isSame);
  if ("steps" in given) {
    const wanted = { ...about, plan: given };
    const digest = digestOf(planToStore(wanted));
    return submitOnce(
      () => find(({ planDigest }) => planDigest === digest),
      () => submitRun(GOAL, { ...options, ...queueFor(given) }, wanted),
    );
  }
  const { inputs } = input;
  const { goal, agent_id, origin_system_id } = words;
  const question = { goal, agent_id, origin_system_id };
  return submitOnce(
    () => find((row) => isPlannedFor(row, about, given, inputs)),
    async () => {
      const made = await planByModel({
        ...{ goal, model: given, policy, inputs, pinOwn, budget },
        ask: async (plan, rest) => {
          const asked = { words: question, planner: "question", plan, budget: rest } as const;
          // It is asked here, also where a worker is to carry the plan out.
          const result = await submitRun(GOAL, options, { ...about, ...asked });
          const { steps } = await describeTrace(installation, tenantId, result.runId);
          return { ...result, last: steps.at(-1) ?? null };
        },
      });
      return submitRun(GOAL, { ...options, ...queueFor(made.plan) }, { ...about, ...made });
    },
  );
}

async function submitOnce(
  find: () => Promise<RunReport | null>,
  submit: () => Promise<RunResult>,
): Promise<RunReport> {
  const known = await find();
  if (known !== null) return known;
  try {
    return reportOf(await submit());
  } catch (error) {
    // Another process may have been quicker with the same key: then its run is the one.
    if (!isSovereignError(error, "ERR_RUN_FENCED")) throw error;
    const quicker = await find();
    if (quicker === null) throw error;
    return quicker;
  }
}

/**
 * The run that was submitted under the same key.
 * @throws ERR_IDEMPOTENCY_CONFLICT where that is a run of something else
 */
async function findSubmitted(
  installation: Installation,
  tenantId: string,
  { idempotency_key: idempotencyKey }: GoalWords,
  isSame: (row: RunRow) => boolean,
): Promise<RunReport | null> {
  if (idempotencyKey === undefined) return null;
  const filter = { limit: 1, status: null, kind: null, idempotencyKey };
  const [row] = await installation.store.listRuns(tenantId, filter);
  if (row === undefined) return null;
  const { runId, status, reason } = row;
  if (!isSame(row)) {
    const text = `The key ${quoted(idempotencyKey)} is that of run ${runId}, which has another goal, plan, policy or input. Use another key.`;
    throw new SovereignError("ERR_IDEMPOTENCY_CONFLICT", text, { runId });
  }
  const isDone = isPublished(installation, runId);
  const files = isDone ? publishedAt(installation, runId) : { bundle: null, trustRoot: null };
  const rest = { reason, ...files, outcome: null, code: null, artifacts: [] };
  return reportOf({ runId, status: status === "running" ? "pending" : status, ...rest });
}

/** A model may give another plan each time: what was asked for is compared, and not the answer. */
function isPlannedFor(
  { runId, plan }: RunRow,
  { words, planner, role, policy }: Omit<GoalInput, "plan">,
  { vendor, model }: AskedModel,
  given: Readonly<Record<string, JsonValue>>,
): boolean {
  const { goal } = openGoalPlan(runId, plan);
  const { planned_by: by, inputs } = goal;
  const own = Object.fromEntries(Object.keys(given).map((name) => [name, inputs[name] ?? null]));
  const { goal: text, agent_id, origin_system_id, idempotency_key = null } = goal;
  const before = {
    ...{ goal: text, agent_id, origin_system_id, idempotency_key },
    ...{ planner: goal.planner, role: goal.role, policy: goal.policy_digest },
    ...{ vendor: by?.vendor ?? null, model: by?.model ?? null, inputs: own },
  };
  const now = { ...words, planner, role, policy: policy.digest, vendor, model, inputs: given };
  return digestOf(before) === digestOf(now);
}

const INVALID: ErrorCode = "ERR_REQUEST_INVALID";

function planOf(
  { planFile, plan: brought, planner, goal, inputs }: GoalRunInput,
  pinOwn: PinOwn,
): CheckedPlan {
  const given: Record<string, JsonValue> = { ...inputs };
  if (planFile !== null) {
    const { plan, placeOf } = readPlanFile(readNamed(planFile), planFile);
    return checkPlan(withInputs(plan, given), placeOf, pinOwn);
  }
  if (brought !== undefined && brought !== null) {
    return checkPlan(withInputs(brought, given), undefined, pinOwn);
  }
  if (planner === "stub") return checkPlan(withInputs(planWithStub(goal), given));
  const text =
    "A goal needs a plan: give one (--plan plan.yaml, or plan in the body), or have one made (--planner stub).";
  throw new SovereignError("ERR_PLAN_MISSING", text);
}

/** Whom the planner asks; null where the plan is not a model's. @throws ERR_PLAN_MISSING */
function modelOf({ planner, plannerModel, planFile, plan }: GoalRunInput): AskedModel | null {
  if (planner !== "model" || planFile !== null || (plan ?? null) !== null) return null;
  if (plannerModel !== undefined && plannerModel !== null) return plannerModel;
  const text =
    "The planner model needs a model: --planner-model VENDOR/MODEL, with a vendor of: sovereign models list";
  throw new SovereignError("ERR_PLAN_MISSING", text);
}

/** No policy, no run. @throws ERR_POLICY_MISSING */
function tenantPolicy(home: string, tenantId: string): string {
  const path = tenantPolicyFile(home, tenantId);
  if (existsSync(path)) return path;
  const text = `The tenant ${tenantId} has no policy, so nothing was run. Give one with --policy FILE, or write it to ${path}. It names what steps may do, as in: { policy_id: ${tenantId}, schema_version: 1.0.0, operations: [{ type: skill.http_call, resources: ["api.example.org"] }] }`;
  throw new SovereignError("ERR_POLICY_MISSING", text);
}

function skillReport({ name, version, text, reversible, input, output }: Skill): SkillReport {
  return { name, version, text, reversible, input: schemaOf(input), output: schemaOf(output) };
}

function schemaOf(format: z.ZodType): JsonObject {
  return z.toJSONSchema(format, { io: "input", unrepresentable: "any" }) as JsonObject;
}

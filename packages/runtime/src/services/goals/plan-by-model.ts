import {
  type BudgetLimits,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  SovereignError,
  type TraceStep,
} from "@sovereign/core";
import { z } from "zod";
import {
  type CheckedPlan,
  checkPlan,
  MODEL_PLAN,
  type PlannableSkill,
  planningQuestion,
  parsePlan,
  readProposal,
  repairQuestion,
  withInputs,
} from "../../planning/index.ts";
import type { CompiledPolicy } from "../../policy/index.ts";
import { type AskedModel, type PinOwn, SKILLS } from "../../skills/index.ts";
import type { RunResult } from "../runs/run-result.ts";
import type { PlannedBy } from "./goal-plan.ts";

/** The first answer, and at most so many others. */
const REPAIRS_MAX = 3;
const ANSWER_TOKENS_MAX = 8192;
const TIMEOUT_MS = 300_000;
/** No model plans with these: the one is known by its digest alone, the other only fails. */
const NOT_PLANNED: readonly string[] = ["own", "__sdsr_fail_trigger__"];

export interface PlanningParts {
  readonly goal: string;
  readonly model: AskedModel;
  readonly policy: CompiledPolicy;
  readonly inputs: Readonly<Record<string, JsonValue>>;
  readonly pinOwn: PinOwn;
  /** What the run may use, which the questions use, too; null for no limit. */
  readonly budget: BudgetLimits | null;
  /** Carry the plan of a question out as a run of the tenant. */
  readonly ask: (plan: CheckedPlan, budget: BudgetLimits | null) => Promise<AskedRun>;
}

/** How the run of a question ended, and its one step. */
export type AskedRun = Pick<RunResult, "runId" | "status" | "code" | "reason"> & {
  readonly last: Pick<TraceStep, "output" | "cost_microusd" | "duration_ms"> | null;
};

export interface MadePlan {
  readonly plan: CheckedPlan;
  readonly plannedBy: PlannedBy;
  /** What is left of the budget. */
  readonly budget: BudgetLimits | null;
}

/**
 * Have a model make a plan. Each question is a run of the tenant: policy allows it, the model proxy
 * makes it, and its tokens count. The answer is untrusted, and checked like the plan of a file.
 *
 * @throws ERR_PLANNER_FAILED where the model gave no answer; what is wrong with its last plan, with the place
 */
export async function planByModel(parts: PlanningParts): Promise<MadePlan> {
  const { goal, model, inputs, pinOwn, policy } = parts;
  const first = planningQuestion(goal, Object.keys(inputs), plannableSkills(policy));
  let question = first;
  let { budget } = parts;
  for (let round = 0; ; round++) {
    const answer = await answerTo(question, parts, budget);
    budget = answer.budget;
    try {
      const proposal = withInputs(readProposal(answer.text, goal), inputs);
      const place = (path: readonly PropertyKey[]): string => `${MODEL_PLAN}: ${path.join(".")}`;
      const plan = checkPlan(proposal, place, pinOwn);
      const { runId: run_id, sha256: answer_sha256 } = answer;
      return { plan, plannedBy: { ...model, run_id, answer_sha256 }, budget };
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      if (round >= REPAIRS_MAX) {
        const text = `${error.message} This was the answer ${round + 1} of ${model.vendor}/${model.model}, in run ${answer.runId}. Nothing was run. Say the goal in more detail, or write a plan: --plan plan.yaml`;
        throw new SovereignError(error.code, text, { runId: answer.runId }, error);
      }
      question = repairQuestion(first, answer.text, error.message);
    }
  }
}

/** What the policy names, of the skills that there are. */
export function plannableSkills({ patterns }: CompiledPolicy): PlannableSkill[] {
  return Object.values(SKILLS).flatMap(({ name, text, input }) => {
    const named = patterns.filter(
      ({ kind, args }) => kind === "resource" && args[0] === `skill.${name}`,
    );
    if (named.length === 0 || NOT_PLANNED.includes(name)) return [];
    const found = z.toJSONSchema(input, { io: "input", unrepresentable: "any" }) as JsonObject;
    const own = Object.entries(found).filter(([key]) => key !== "$schema");
    const schema = Object.fromEntries(own);
    return [{ name, text, input: schema, resources: named.map(({ glob }) => glob) }];
  });
}

interface Answer {
  readonly text: string;
  readonly sha256: string;
  readonly runId: string;
  readonly budget: BudgetLimits | null;
}

const given = z.object({
  value: z.object({ text: z.string().nullable(), sha256: z.string() }),
  tokens: z.number(),
});

/** One question, as a plan of one step. Its texts are inputs: what looks like a reference is none. */
async function answerTo(
  question: { readonly system: string; readonly prompt: string },
  { model, ask }: PlanningParts,
  budget: BudgetLimits | null,
): Promise<Answer> {
  const step = {
    id: "plan",
    skill: "llm_invoke",
    with: {
      ...model,
      system: "${{ inputs.system }}",
      prompt: "${{ inputs.prompt }}",
      max_tokens: ANSWER_TOKENS_MAX,
    },
    timeout_ms: TIMEOUT_MS,
  };
  const plan = checkPlan(parsePlan({ inputs: { ...question }, steps: [step] }, "question"));
  const { runId, status, code, reason, last } = await ask(plan, budget);
  if (status !== "completed") {
    const why = `${code ?? status}: ${reason ?? "it gave no reason"}`;
    throw failed(`the run ${runId}, in which it was asked, is ${status}: ${why}`, runId);
  }
  const output = given.parse(last?.output);
  if (output.value.text === null) {
    throw failed(`its answer in run ${runId} is longer than 12 KiB`, runId);
  }
  const { text, sha256 } = output.value;
  const { cost_microusd: microusd = 0, duration_ms: ms } = last ?? {};
  const used = { microusd, tokens: output.tokens, steps: 1, ms: ms ?? 0 };
  return { text, sha256, runId, budget: restOf(budget, used, runId) };
}

/** @throws ERR_BUDGET_EXCEEDED where nothing is left for the plan itself */
function restOf(
  budget: BudgetLimits | null,
  used: Readonly<Record<keyof BudgetLimits, number>>,
  runId: string,
): BudgetLimits | null {
  if (budget === null) return null;
  const names = Object.keys(used) as (keyof BudgetLimits)[];
  const rest = Object.fromEntries(
    names.map((name) => {
      const limit = budget[name];
      return [name, limit === null ? null : limit - used[name]];
    }),
  ) as unknown as BudgetLimits;
  const spent = names.find((name) => (rest[name] ?? 1) <= 0);
  if (spent === undefined) return rest;
  const text = `The questions to the model used up the run's limit of ${spent}; the last is run ${runId}. Nothing of a plan was run.`;
  throw new SovereignError("ERR_BUDGET_EXCEEDED", text, { runId });
}

function failed(why: string, runId: string): SovereignError {
  const text = `The model made no plan: ${why}. Nothing of a plan was run.`;
  return new SovereignError("ERR_PLANNER_FAILED", text, { runId });
}

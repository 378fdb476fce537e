import {
  type Action,
  type ActionParams,
  type ApiCaller,
  type BudgetAmount,
  canonicalize,
  type JsonObject,
  SovereignError,
} from "@sovereign/core";
import type { BreakerPlace } from "../../ledger/index.ts";
import type { CheckedStep } from "../../planning/index.ts";
import type { CompiledPolicy } from "../../policy/index.ts";
import { findSkill, readInput, secretTexts, takesSecret } from "../../skills/index.ts";
import type { GoalPlan } from "./goal-plan.ts";

/** A goal's run as it was frozen. */
export interface FrozenGoal {
  readonly plan: JsonObject;
  readonly goal: GoalPlan;
  readonly policy: CompiledPolicy;
  /** Who submitted it over the network; null for a command of the machine. */
  readonly caller: ApiCaller | null;
}

/**
 * What a step asks for.
 * @param given the step's input, with everything looked up
 * @throws ERR_SKILL_INPUT, ERR_SKILL_UNKNOWN, ERR_PLAN_REFERENCE
 */
export function actionOf(step: CheckedStep, given: JsonObject): Action {
  const skill = findSkill(step.skill);
  const input = readInput(skill, given, `the step ${step.id}`);
  requireOwnSecrets(step, given);
  const { version, timeout_ms, cost_cents } = step;
  const cost = cost_cents === undefined ? {} : { cost_microusd: cost_cents * CENT };
  return {
    type: `skill.${step.skill}`,
    resource: skill.resource(input),
    params: { version, input, timeout_ms, ...cost },
  };
}

/** In millionths of a dollar. */
const CENT = 10_000;

/** Whom a step calls; null for nobody whose failures count. */
export function callsOf({ type, resource, params }: Action): BreakerPlace | null {
  const skill = findSkill(type.slice("skill.".length));
  const [host = resource] = skill.hosts(params["input"] as JsonObject);
  return skill.local ? null : { skill: skill.name, host };
}

/** The most that an attempt of a step uses. */
export function mostOf({ type, params }: Action): BudgetAmount {
  const { input, timeout_ms: ms, cost_microusd = 0 } = params as ActionParams<"skill.http_call">;
  const { microusd, tokens } = findSkill(type.slice("skill.".length)).most(input);
  return { microusd: microusd + cost_microusd, tokens, ms };
}

/** What was looked up may look like a reference to a secret: the plan alone says where one goes. */
function requireOwnSecrets(step: CheckedStep, given: JsonObject): void {
  const skill = findSkill(step.skill);
  const placesOf = (input: JsonObject): string =>
    canonicalize(
      Object.fromEntries([...secretTexts(input)].filter(([place]) => takesSecret(skill, place))),
    );
  if (placesOf(given) === placesOf(step.with)) return;
  const text = `The step ${step.id}: a value that was looked up refers to a secret. The plan itself says which secret goes where.`;
  throw new SovereignError("ERR_PLAN_REFERENCE", text, { step: step.id });
}

import { cutText, type JsonObject, parseStrictJson, quoted, SovereignError } from "@sovereign/core";
import { secretTexts } from "../skills/index.ts";
import { secretsNamedIn } from "../agents/index.ts";
import { parsePlan, type Plan } from "./plan-format.ts";

/** A skill that a model may plan with, and what policy lets it act on. */
export interface PlannableSkill {
  readonly name: string;
  readonly text: string;
  readonly input: JsonObject;
  /** Patterns of the policy. */
  readonly resources: readonly string[];
}

export interface PlanningQuestion {
  readonly system: string;
  readonly prompt: string;
}

const ANSWER_SHOWN_MAX = 3000;
const PROBLEM_SHOWN_MAX = 1000;

const RULES = `You make a plan for a runtime that carries it out under a policy. Answer with one JSON object and nothing else:
{"steps": [{"id": "fetch", "skill": "http_call", "with": {"url": "https://api.example.org/x"}, "needs": [], "timeout_ms": 30000}]}
- "id" has a-z 0-9 _ -, starts with a letter, and is unique. "with" is the skill's input, by its JSON Schema.
- Steps without a common "needs" run side by side. Optional: "needs": [ids], "when": {"value", "equals" or "not_equals"}, "retry": {"max", "backoff_ms"}.
- References: \${{ steps.ID.output.path }} for what a step gave, \${{ inputs.NAME }} for an input. Nothing is computed in them.
- A secret is \${{ secrets.NAME }}. Use only names that the goal itself gives.
- Use only the skills below, on what the policy allows them.`;

/** What a model is asked. The goal is a text like any other: nothing in it is looked up. */
export function planningQuestion(
  goal: string,
  inputs: readonly string[],
  skills: readonly PlannableSkill[],
): PlanningQuestion {
  const list = skills.map(
    ({ name, text, input, resources }) =>
      `${name}: ${text}\n  allowed on: ${resources.join(", ")}\n  input: ${JSON.stringify(input)}`,
  );
  return {
    system: [RULES, "", "Skills:", ...list].join("\n"),
    prompt: `Inputs: ${inputs.join(", ") || "none"}\nGoal: ${goal}`,
  };
}

/** The same question again, with what was wrong with the answer. */
export function repairQuestion(
  { system, prompt }: PlanningQuestion,
  answer: string,
  problem: string,
): PlanningQuestion {
  const parts = [
    prompt,
    "",
    `Your answer was: ${cutText(answer, ANSWER_SHOWN_MAX)}`,
    `It was refused: ${cutText(problem, PROBLEM_SHOWN_MAX)}`,
    "Answer with the whole plan again, mended.",
  ];
  return { system, prompt: parts.join("\n") };
}

export const MODEL_PLAN = "the model's plan";

/**
 * Read a model's answer as what a file would be read as.
 *
 * @param text untrusted
 * @throws ERR_PLAN_INVALID with the place; ERR_PLAN_REFERENCE for a secret that the goal does not name
 */
export function readProposal(text: string, goal: string): Plan {
  const [, fenced] = /^\s*```(?:json)?\n([^]*)\n```\s*$/.exec(text) ?? [];
  let value: unknown;
  try {
    value = parseStrictJson(Buffer.from(fenced ?? text));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "it cannot be read";
    const said = `${MODEL_PLAN}: expected one JSON object and nothing else: ${why}`;
    throw new SovereignError("ERR_PLAN_INVALID", said, {}, cause);
  }
  const plan = parsePlan(value, MODEL_PLAN);
  refuseOwnSecrets(plan, goal);
  return plan;
}

/** Who asks says which secrets a plan may use; what a model read somewhere does not. */
function refuseOwnSecrets({ steps }: Plan, goal: string): void {
  for (const [at, step] of steps.entries()) {
    for (const [place, text] of secretTexts(step.with)) {
      const lost = secretsNamedIn(text).find((name) => !isNamedIn(name, goal));
      if (lost === undefined) continue;
      const said = `${MODEL_PLAN}: steps.${at}: at with.${place} it uses the secret ${quoted(lost)}, which the goal does not name.`;
      throw new SovereignError("ERR_PLAN_REFERENCE", said, { step: step.id });
    }
  }
}

function isNamedIn(name: string, goal: string): boolean {
  return goal.split(/[^A-Za-z0-9_]+/).includes(name);
}

import { quoted, SovereignError, withoutEnd } from "@sovereign/core";
import { parsePlan, type Plan } from "./plan-format.ts";

/**
 * Who made a plan: a file that the user gave, the stub, or a model. `question` is the plan of a run
 * whose one step asks a model for a plan.
 */
export const PLANNERS = ["file", "stub", "model", "question"] as const;
export type PlannerName = (typeof PLANNERS)[number];

/**
 * The stub: the same goal always gives the same plan, and nobody is asked. A goal that names a web
 * address becomes one request of it. It is there to try the runtime out, and is recorded as what it is.
 *
 * @throws ERR_PLAN_MISSING where the goal names none
 */
export function planWithStub(goal: string): Plan {
  const [url] = /https?:\/\/[^\s"'<>`{}|\\^]{1,1900}/.exec(goal) ?? [];
  if (url === undefined) {
    const text = `The stub planner makes a plan of a goal that names a web address; ${quoted(goal.slice(0, 120))} names none. Write a plan and give it with --plan plan.yaml`;
    throw new SovereignError("ERR_PLAN_MISSING", text);
  }
  const step = { id: "call", skill: "http_call", with: { url: withoutEnd(url, ".,;:!?)") } };
  return parsePlan({ steps: [step] }, "the stub's plan");
}

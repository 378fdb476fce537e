import type { Action, ActionContext, JsonObject, PolicyDecision } from "@sovereign/core";
import type { PolicyDecider } from "../kernel/index.ts";
import { TOOL_CALL } from "./tool-calls.ts";

/** What a policy's rule for a tool is named that allows it whatever its arguments. */
const UNJUDGED = "tool:";

/**
 * A tool call is allowed where policy allows the tool, and what the call does in our vocabulary: a
 * file that it reads or writes, the words of a command. These stand in the action itself, so that
 * everybody who decides on it decides alike. A tool that policy allows by `allow` is not looked into.
 */
export class AgentPolicy implements PolicyDecider {
  readonly #policy: PolicyDecider;

  constructor(policy: PolicyDecider) {
    this.#policy = policy;
  }

  get policyDigest(): string {
    return this.#policy.policyDigest;
  }

  decide(action: Action, context: ActionContext): PolicyDecision {
    const tool = this.#policy.decide(action, context);
    if (action.type !== TOOL_CALL || tool.effect === "deny") return tool;
    if (tool.rules.some((rule) => rule.startsWith(UNJUDGED))) return tool;
    let decision = tool;
    for (const ask of asksOf(action)) {
      const found = this.#policy.decide(ask, context);
      const rules = [...new Set([...decision.rules, ...found.rules])].slice(0, 32);
      const reasons = [...new Set([...decision.reasons, ...found.reasons])].slice(0, 8);
      const observed = decision.observed || found.observed;
      if (found.effect === "deny") return { ...found, request_digest: tool.request_digest };
      const stricter = found.effect === "step_up" ? found : decision;
      const { effect, approvals } = stricter;
      decision = {
        ...decision,
        effect,
        approvals,
        rules,
        reasons,
        observed: effect === "allow" && observed,
      };
    }
    return decision;
  }
}

function asksOf({ params }: Action): Action[] {
  const { asks } = params;
  return Array.isArray(asks) ? (asks as JsonObject[] as unknown as Action[]) : [];
}

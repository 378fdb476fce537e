import {
  type Action,
  type ActionContext,
  type JsonObject,
  type PolicyDecision,
  fixClass,
} from "@sovereign/core";
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
    Object.freeze(this);
  }

  get policyDigest(): string {
    return this.#policy.policyDigest;
  }

  decide(action: Action, context: ActionContext): PolicyDecision {
    const tool = this.#policy.decide(action, context);
    if (action.type !== TOOL_CALL || tool.effect === "deny") return tool;
    const asks = asksOf(action).map((ask) => ({
      type: ask.type,
      found: this.#policy.decide(ask, context),
    }));
    // A call that is one of two tools needs leave for both, and is looked into where either is.
    const tools = asks.filter(({ type }) => type === TOOL_CALL).map(({ found }) => found);
    const isUnjudged = [tool, ...tools].every(({ rules }) =>
      rules.some((rule) => rule.startsWith(UNJUDGED)),
    );
    const looked = isUnjudged ? tools : asks.map(({ found }) => found);
    return looked.reduce((decision, found) => stricterOf(tool, decision, found), tool);
  }
}

fixClass(AgentPolicy);

function stricterOf(
  tool: PolicyDecision,
  decision: PolicyDecision,
  found: PolicyDecision,
): PolicyDecision {
  if (decision.effect === "deny") return decision;
  if (found.effect === "deny") return { ...found, request_digest: tool.request_digest };
  const { effect, approvals } = found.effect === "step_up" ? found : decision;
  return {
    ...decision,
    effect,
    approvals,
    rules: [...new Set([...decision.rules, ...found.rules])].slice(0, 32),
    reasons: [...new Set([...decision.reasons, ...found.reasons])].slice(0, 8),
    observed: effect === "allow" && (decision.observed || found.observed),
  };
}

function asksOf({ params }: Action): Action[] {
  const { asks } = params;
  return Array.isArray(asks) ? (asks as JsonObject[] as unknown as Action[]) : [];
}

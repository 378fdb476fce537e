import { type Action, type ActionContext, type PolicyDecision, fixClass } from "@sovereign/core";
import type { PolicyDecider } from "../kernel/index.ts";

/** The role whose approval a reviewed request needs, where its policy names none for it. */
export const REVIEWER = "reviewer";

/**
 * A request that requires review waits before its commits come back, whatever the policy says: the
 * approval is then over exactly the request's digest and the patches' digests. The demand stands
 * in the action itself, so that everybody who decides on it decides alike.
 */
export class ReviewedPolicy implements PolicyDecider {
  readonly #policy: PolicyDecider;

  constructor(policy: PolicyDecider) {
    this.#policy = policy;
    Object.freeze(this);
  }

  get policyDigest(): string {
    return this.#policy.policyDigest;
  }

  decide(action: Action, context: ActionContext): PolicyDecision {
    const decision = this.#policy.decide(action, context);
    const review = action.type === "git.bring_back" && action.params["review"] === true;
    if (!review || decision.effect !== "allow") return decision;
    const approvals = { required: 1, roles: [REVIEWER] };
    const reasons = ["the request requires review", ...decision.reasons].slice(0, 100);
    return { ...decision, effect: "step_up", approvals, reasons };
  }
}

fixClass(ReviewedPolicy);

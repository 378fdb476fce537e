import {
  type Action,
  type ActionContext,
  cutText,
  policyFace,
  type PolicyDecision,
  scopeProblem,
  type WorkScope,
  fixClass,
} from "@sovereign/core";
import type { PolicyDecider } from "../kernel/index.ts";

const SCOPE_RULE = "scope:work_scope";

/** A policy, narrowed to the files that a task may change. It allows nothing that the policy denies. */
export class ScopedPolicy implements PolicyDecider {
  readonly #policy: PolicyDecider;
  readonly #scope: WorkScope | null;

  constructor(policy: PolicyDecider, scope: WorkScope | null) {
    this.#policy = policy;
    this.#scope = scope;
    Object.freeze(this);
  }

  get policyDigest(): string {
    return this.#policy.policyDigest;
  }

  decide(action: Action, context: ActionContext): PolicyDecision {
    const decision = this.#policy.decide(action, context);
    const scope = this.#scope;
    if (scope === null || decision.effect === "deny") return decision;
    for (const path of changedBy(action)) {
      const problem = scopeProblem(path, scope);
      if (problem === null) continue;
      const reasons = [cutText(problem, 500)];
      const rules = [SCOPE_RULE];
      return { ...decision, effect: "deny", approvals: null, rules, reasons, observed: false };
    }
    return decision;
  }
}

fixClass(ScopedPolicy);

/** The files that an action changes, as it names them. */
function changedBy({ type, resource, params }: Action): string[] {
  const face = policyFace(type);
  if (face.matches !== "path" || face.readsOnly === true) return [];
  const more = (face.morePaths ?? []).map((name) => params[name]);
  return [resource, ...more.filter((one) => typeof one === "string")];
}

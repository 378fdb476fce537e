import {
  type Action,
  type ActionContext,
  canonicalSize,
  countHolders,
  cutText,
  deepFreeze,
  digestOf,
  formats,
  frozenCopy,
  type PolicyDecision,
  parseCopy,
  SovereignError,
} from "@sovereign/core";
import type { PolicyDecider } from "./ports.ts";
import { leaveUnheard, readThrown } from "./thrown.ts";

/** A decision stands in an entry beside its action, and in a binding. */
const DECISION_BYTES_MAX = 24 * 1024;

/**
 * Ask policy, and take its answer as what it is: a value of somebody else's. Whatever is no
 * decision that we know is a denial, and so is what the decider throws.
 *
 * INVARIANT: `effect` is `allow` without approvals, `step_up` with them, or `deny`.
 */
export function askPolicy(
  decider: PolicyDecider,
  action: Action,
  context: ActionContext,
): { readonly decision: PolicyDecision; readonly problem: string | null } {
  try {
    const given: unknown = decider.decide(action, context);
    leaveUnheard(given);
    const decision = readDecision(given);
    const { tenant_id, role, mode } = context;
    const request = digestOf({ action: action, tenant_id, role, mode });
    const problem =
      context.policy_digest === decider.policyDigest
        ? problemOf(decision, decider.policyDigest, request)
        : "the context names another policy";
    if (problem === null) return { decision, problem };
    return { decision: noDecision(decider.policyDigest), problem };
  } catch (error) {
    const { ours, message } = readThrown(error);
    const said = message ?? "it threw what is not an error";
    const why = ours ? said : `the decider failed: ${said}`;
    return { decision: noDecision(decider.policyDigest), problem: cutText(why, 1000) };
  }
}

/** What was read before: a decider that keeps its answers gives the same frozen one again. */
const read = new WeakSet<PolicyDecision>();

/** @param given untrusted */
function readDecision(given: unknown): PolicyDecision {
  const copied = frozenCopy(given) as PolicyDecision;
  if (typeof copied === "object" && read.has(copied)) return copied;
  const decision = parseCopy(formats.policyDecision, copied, "policy decision");
  read.add(decision);
  return decision;
}

/** What a verifier would refuse later is refused now. */
function problemOf(decision: PolicyDecision, policyDigest: string, request: string): string | null {
  const { effect, approvals, rules, observed } = decision;
  const people = countHolders(approvals?.roles ?? []);
  const length = canonicalSize(decision);
  const problems: [boolean, string][] = [
    [decision.policy_digest !== policyDigest, "a decision of another policy"],
    [decision.request_digest !== request, "a decision on another request"],
    [effect !== "allow" && observed, "`observed` with another effect than `allow`"],
    [effect !== "deny" && rules.length === 0 && !observed, "`allow` or `step_up` without a rule"],
    [effect === "step_up" && approvals === null, "step_up without its approvals"],
    [
      effect === "allow" && approvals !== null,
      "`allow` has approvals: only `step_up` may have them",
    ],
    [(approvals?.required ?? 0) > people, "more approvals than there are people to give them"],
    [length > DECISION_BYTES_MAX, `a decision of ${length} bytes`],
  ];
  return problems.find(([wrong]) => wrong)?.[1] ?? null;
}

/** What stands in the record where policy was not asked, or answered nothing that is known. */
export function noDecision(policyDigest: string): PolicyDecision {
  const known = formats.policyDecision.shape.policy_digest.safeParse(policyDigest).success;
  return deepFreeze({
    effect: "deny",
    rules: [],
    reasons: [],
    approvals: null,
    policy_digest: known ? policyDigest : NO_DIGEST,
    request_digest: NO_DIGEST,
    observed: false,
  });
}

const NO_DIGEST = "0".repeat(64);

/** @throws ERR_POLICY_INVALID when the decider itself has no digest to be named by */
export function captureDecider(policy: PolicyDecider): PolicyDecider {
  const { policyDigest } = policy;
  if (!formats.policyDecision.shape.policy_digest.safeParse(policyDigest).success) {
    throw new SovereignError("ERR_POLICY_INVALID", "The policy decider has no policyDigest.");
  }
  return { policyDigest, decide: policy.decide.bind(policy) };
}

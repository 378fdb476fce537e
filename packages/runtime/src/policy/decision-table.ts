import {
  type Action,
  type ActionContext,
  formats,
  fields,
  SovereignError,
  readFormat,
} from "@sovereign/core";
import { z } from "zod";
import type { PolicyEngine } from "./engine.ts";
import { readPolicySource } from "./policy-source.ts";

const CASES_MAX = 1000;
const { type, resource, params } = formats.action.shape;

/** What one action should meet, and by which rule. */
const decisionCase = z.strictObject({
  action: type,
  on: resource.default("resource"),
  params: params.prefault({}),
  role: fields.name.default("agent"),
  expect: z.enum(["allow", "deny", "step_up"]),
  /** One of the rules that decide. */
  rule: z.string().min(1).max(400).optional(),
});

/** A table of decisions that a policy should make. */
const decisionTable = z.strictObject({
  cases: z.array(decisionCase).min(1).max(CASES_MAX),
});

/** What was expected of one case, and what the policy says. */
export interface CaseResult {
  /** `file:line:column` of the case. */
  readonly place: string;
  readonly action: string;
  readonly resource: string;
  readonly passed: boolean;
  readonly expected: { readonly effect: string; readonly rule: string | null };
  readonly found: {
    readonly effect: string;
    readonly rules: readonly string[];
    readonly reasons: readonly string[];
  };
}

/**
 * Hold a policy against a table of expected decisions. Of a policy that observes, what it would deny
 * counts as denied.
 *
 * @param bytes untrusted
 * @throws ERR_POLICY_SYNTAX with the place of what is wrong in the table
 */
export function checkDecisions(
  engine: PolicyEngine,
  bytes: Uint8Array,
  path: string,
): CaseResult[] {
  const { value, placeOf } = readPolicySource(bytes, path);
  const read = readFormat(decisionTable, value);
  if (!read.success) {
    const [issue] = read.error.issues;
    const at = issue?.path ?? [];
    const text = `${placeOf(at)}: ${at.map(String).join(".")}: ${issue?.message ?? "no match"}`;
    throw new SovereignError("ERR_POLICY_SYNTAX", text);
  }
  return read.data.cases.map((one, index) => {
    const action: Action = { type: one.action, resource: one.on, params: one.params };
    const decision = engine.decide(action, contextOf(one.role, engine.policyDigest));
    const { rules, reasons, observed } = decision;
    const effect = observed ? "deny" : decision.effect;
    const { expect, rule = null } = one;
    const passed = effect === expect && (rule === null || rules.includes(rule));
    return {
      place: placeOf(["cases", index]),
      action: action.type,
      resource: action.resource,
      passed,
      expected: { effect: expect, rule },
      found: { effect, rules, reasons },
    };
  });
}

/** The context of a question that is asked outside of every run. */
export function contextOf(role: string, policyDigest: string): ActionContext {
  return {
    tenant_id: "default",
    run_id: `run_${"a".repeat(20)}`,
    step_id: "explain",
    attempt: 1,
    role,
    mode: "sovereign",
    config_digest: "0".repeat(64),
    policy_digest: policyDigest,
  };
}

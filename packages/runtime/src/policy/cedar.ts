import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { SovereignError } from "@sovereign/core";

/**
 * What a Cedar policy can speak of. `context.matched` names the patterns of the sandbox policy
 * that the request matches, such as `path:docs/**`: globs are matched before Cedar is asked, and
 * an auditor can match them again.
 */
export const CEDAR_SCHEMA = `entity Role;
entity Resource { name: String };
action "execute" appliesTo {
  principal: [Role],
  resource: [Resource],
  context: {
    type: String,
    tenant: String,
    mode: String,
    matched: Set<String>,
  }
};
`;

/** Policies by id, in Cedar's own JSON form: nothing is ever pasted into policy text. */
export type CedarPolicies = Readonly<Record<string, PolicyJson>>;

export interface CedarRequest {
  readonly role: string;
  readonly resource: string;
  readonly type: string;
  readonly tenant: string;
  readonly mode: string;
  readonly matched: readonly string[];
}

export interface CedarAnswer {
  readonly allow: boolean;
  readonly rules: readonly string[];
  readonly errors: readonly string[];
}

/** What a decision can name; the longest pattern of a sandbox policy makes a shorter one. */
const RULE_CHARS = 400;

let schemaReady = false;
const SCHEMA_NAME = "sovereign";

/**
 * Read Cedar text. A policy's id is its `@id` annotation, else its number.
 * @throws ERR_POLICY_INVALID
 */
export function parseCedar(text: string, path: string): CedarPolicies {
  const parts = cedar.policySetTextToParts(text);
  if (parts.type === "failure") throw invalid(path, parts.errors);
  if (parts.policy_templates.length > 0)
    throw invalid(path, [{ message: "templates are refused" }]);
  const policies: Record<string, PolicyJson> = {};
  for (const [index, part] of parts.policies.entries()) {
    const read = cedar.policyToJson(part);
    if (read.type === "failure") throw invalid(path, read.errors);
    const id = read.json.annotations?.["id"] ?? `policy${index + 1}`;
    if (id.length > RULE_CHARS) {
      throw invalid(path, [
        { message: `an id of ${id.length} characters, more than ${RULE_CHARS}` },
      ]);
    }
    if (Object.hasOwn(policies, id))
      throw invalid(path, [{ message: `the id ${id} stands twice` }]);
    policies[id] = read.json;
  }
  return policies;
}

/**
 * Hold policies against our schema, strictly.
 * @throws ERR_POLICY_INVALID
 */
export function validateCedar(policies: CedarPolicies, path: string): void {
  const answer = cedar.validate({
    schema: CEDAR_SCHEMA,
    policies: { staticPolicies: { ...policies } },
    validationSettings: { mode: "strict" },
  });
  if (answer.type === "failure") throw invalid(path, answer.errors);
  const [first] = answer.validationErrors;
  if (first !== undefined) {
    throw invalid(path, [{ message: `${first.policyId}: ${first.error.message}` }]);
  }
}

/** Parse the policies once; later decisions refer to them by the policy's digest. */
export function prepareCedar(digest: string, policies: CedarPolicies): void {
  if (!schemaReady) {
    cedar.preparseSchema(SCHEMA_NAME, CEDAR_SCHEMA);
    schemaReady = true;
  }
  const answer = cedar.preparsePolicySet(digest, { staticPolicies: { ...policies } });
  if (answer.type === "failure") throw invalid(digest, answer.errors);
}

/** Ask Cedar. Default deny, forbid wins; an error in any policy is a denial. */
export function askCedar(digest: string, request: CedarRequest): CedarAnswer {
  const { role, resource, type, tenant, mode, matched } = request;
  const uid = { type: "Resource", id: resource };
  const answer = cedar.statefulIsAuthorized({
    principal: { type: "Role", id: role },
    action: { type: "Action", id: "execute" },
    resource: uid,
    context: { type, tenant, mode, matched: [...matched] },
    preparsedSchemaName: SCHEMA_NAME,
    validateRequest: true,
    preparsedPolicySetId: digest,
    entities: [{ uid, attrs: { name: resource }, parents: [] }],
  });
  if (answer.type === "failure") {
    return { allow: false, rules: [], errors: answer.errors.map((error) => error.message) };
  }
  const { decision, diagnostics } = answer.response;
  const errors = diagnostics.errors.map(({ policyId, error }) => `${policyId}: ${error.message}`);
  const allow = decision === "allow" && errors.length === 0;
  return { allow, rules: [...diagnostics.reason].sort(), errors };
}

/** The text of a policy, for people. */
export function cedarText(policy: PolicyJson): string {
  const answer = cedar.policyToText(policy);
  return answer.type === "success" ? answer.text : JSON.stringify(policy);
}

function invalid(path: string, errors: readonly { message: string }[]): SovereignError {
  const found = errors[0]?.message ?? "unknown";
  const text = `${path}: not a valid Cedar policy: ${found}`;
  return new SovereignError("ERR_POLICY_INVALID", text, { problems: errors.length });
}

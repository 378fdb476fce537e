import type { DetailedError, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import {
  canonicalize,
  cutText,
  isSovereignError,
  type JsonValue,
  printable,
  SovereignError,
} from "@sovereign/core";
import { CedarModule, type CedarPolicies } from "./cedar-module.ts";
import { checkCedarText } from "./cedar-text.ts";
import { Recent } from "./recent.ts";
import { textPlace } from "./text-place.ts";

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
  /** The policies that decided; none where there are errors. */
  readonly rules: readonly string[];
  /** What could not be evaluated. Where there is any, nobody knows what policy says. */
  readonly errors: readonly string[];
}

/** What a decision can name; the longest pattern of a sandbox policy makes a shorter one. */
const RULE_CHARS = 400;

/** Answers that are kept: there are as many as roles, types and sets of patterns that match together. */
const ANSWERS_MAX = 4096;

const SCHEMA_NAME = "sovereign";
const cedar = new CedarModule(SCHEMA_NAME, CEDAR_SCHEMA);

/** The policies of a file, and `file:line:column` of each. */
export interface CedarFile {
  readonly rules: CedarPolicies;
  readonly placeOf: (id: string) => string;
}

/**
 * Read Cedar text. A policy's id is its `@id` annotation, else its number.
 * @throws ERR_POLICY_INVALID
 */
export function parseCedar(text: string, path: string): CedarFile {
  checkCedarText(text, path);
  return reading(path, () => readPolicies(text, path));
}

function readPolicies(text: string, path: string): CedarFile {
  const parts = cedar.use((module) => module.policySetTextToParts(text));
  if (parts.type === "failure") throw invalid(placeIn(text, path, parts.errors), parts.errors);
  if (parts.policy_templates.length > 0) {
    const place = placeOfPart(text, path, parts.policy_templates[0]);
    throw invalid(place, [{ message: "templates are refused" }]);
  }
  const rules: Record<string, PolicyJson> = {};
  const places = new Map<string, string>();
  for (const [index, part] of parts.policies.entries()) {
    const place = placeOfPart(text, path, part);
    const read = cedar.use((module) => module.policyToJson(part));
    if (read.type === "failure") throw invalid(place, read.errors);
    checkAnnotations(read.json, `${place}: policy ${index + 1}`);
    const id = read.json.annotations?.["id"] ?? `policy${index + 1}`;
    if (id.length > RULE_CHARS) {
      const message = `an id of ${id.length} characters, more than ${RULE_CHARS}`;
      throw invalid(place, [{ message }]);
    }
    if (id === "__proto__")
      throw invalid(place, [{ message: "no policy can have the id __proto__" }]);
    if (Object.hasOwn(rules, id)) throw invalid(place, [{ message: `the id ${id} stands twice` }]);
    rules[id] = read.json;
    places.set(id, place);
  }
  return { rules, placeOf: (id) => places.get(id) ?? path };
}

/** Cedar hands out each policy as it is written. */
function placeOfPart(text: string, path: string, part: string | undefined): string {
  const at = part === undefined ? -1 : text.indexOf(part);
  return at < 0 ? path : textPlace(path, text, at);
}

/** Cedar counts bytes. */
function placeIn(text: string, path: string, [error]: readonly DetailedError[]): string {
  const start = error?.sourceLocations?.[0]?.start;
  if (start === undefined) return path;
  const before = Buffer.from(text).subarray(0, start).toString("utf8");
  return textPlace(path, text, before.length);
}

/**
 * Hold policies against our schema, strictly.
 * @param placeOf where each stands, for messages
 * @throws ERR_POLICY_INVALID
 */
export function validateCedar(policies: CedarPolicies, placeOf: (id: string) => string): void {
  const answer = reading(placeOf(""), () =>
    cedar.use((module) =>
      module.validate({
        schema: CEDAR_SCHEMA,
        policies: { staticPolicies: { ...policies } },
        validationSettings: { mode: "strict" },
      }),
    ),
  );
  if (answer.type === "failure") throw invalid(placeOf(""), answer.errors);
  const [first] = answer.validationErrors;
  if (first !== undefined) {
    const { policyId, error } = first;
    throw invalid(placeOf(policyId), [{ message: `${policyId}: ${error.message}` }]);
  }
}

/** Parse the policies once; later decisions refer to them by the policy's digest. */
export function prepareCedar(digest: string, policies: CedarPolicies): void {
  const problems = reading(digest, () => cedar.prepare(digest, policies));
  if (problems !== null) throw invalid(digest, problems);
  if (Object.values(policies).every(isBlindToResource)) blind.add(digest);
}

/** Policies, by digest, whose every rule decides alike whatever the resource is. */
const blind = new Set<string>();
/** What Cedar said under such policies: it would say the same of every other resource. */
const said = new Recent<CedarAnswer>(ANSWERS_MAX);

/**
 * Whether a rule never looks at the resource: neither in its head, nor by the variable, nor by naming an
 * entity, whose attributes are known for the resource alone.
 */
function isBlindToResource({ resource, conditions }: PolicyJson): boolean {
  const text = canonicalize(conditions as unknown as JsonValue);
  return (
    resource.op === "All" && !text.includes('"Var":"resource"') && !text.includes('"__entity"')
  );
}

/**
 * Ask Cedar. Default deny, forbid wins; an error in any policy is a denial, and so is a Cedar that
 * breaks over the question.
 */
export function askCedar(digest: string, request: CedarRequest): CedarAnswer {
  if (!blind.has(digest)) return askAnew(digest, request);
  const { role, type, tenant, mode, matched } = request;
  const question = canonicalize([digest, role, type, tenant, mode, [...matched]]);
  const known = said.get(question);
  if (known !== undefined) return known;
  const answer = askAnew(digest, request);
  // An engine that failed may answer the next time.
  if (answer.errors.length === 0) said.set(question, answer);
  return answer;
}

function askAnew(digest: string, request: CedarRequest): CedarAnswer {
  const { role, resource, type, tenant, mode, matched } = request;
  if (![role, resource, type, tenant, mode, ...matched].every(isText)) {
    return { allow: false, rules: [], errors: ["the request holds what is no text"] };
  }
  const uid = { type: "Resource", id: resource };
  let answer: ReturnType<typeof cedar.ask>;
  try {
    answer = cedar.ask(digest, {
      principal: { type: "Role", id: role },
      action: { type: "Action", id: "execute" },
      resource: uid,
      // Of texts alone it is what the schema asks for, and need not be held to it: that took two thirds
      // of an answer's time.
      context: { type, tenant, mode, matched: [...matched] },
      preparsedPolicySetId: digest,
      entities: [{ uid, attrs: { name: resource }, parents: [] }],
    });
  } catch (error) {
    const said = error instanceof Error ? error.message : "it threw what is not an error";
    return { allow: false, rules: [], errors: [`the policy engine failed: ${said}`] };
  }
  if (answer.type === "failure") {
    return { allow: false, rules: [], errors: answer.errors.map((error) => error.message) };
  }
  const { decision, diagnostics } = answer.response;
  const errors = diagnostics.errors.map(({ policyId, error }) => `${policyId}: ${error.message}`);
  if (errors.length > 0) return { allow: false, rules: [], errors };
  return { allow: decision === "allow", rules: [...diagnostics.reason].sort(), errors };
}

function isText(word: unknown): boolean {
  return typeof word === "string";
}

/** What an annotation may be called: a misspelt one would ask for nothing, without a word. */
const ANNOTATIONS: readonly string[] = ["id", "step_up", "description"];

function checkAnnotations(policy: PolicyJson, where: string): void {
  for (const name of Object.keys(policy.annotations ?? {})) {
    if (ANNOTATIONS.includes(name)) continue;
    const known = ANNOTATIONS.map((one) => `@${one}`).join(", ");
    const message = `${where} has the annotation @${cutText(name, 100)}; expected one of ${known}`;
    throw new SovereignError("ERR_POLICY_INVALID", message);
  }
  if (policy.effect === "forbid" && policy.annotations?.["step_up"] !== undefined) {
    const message = `${where} forbids, and @step_up asks for approvals of what is allowed`;
    throw new SovereignError("ERR_POLICY_INVALID", message);
  }
}

/** What breaks Cedar's reader is no policy; the reader is replaced. */
function reading<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (isSovereignError(error)) throw error;
    const said = error instanceof Error ? error.message : "it threw what is not an error";
    throw invalid(path, [{ message: `Cedar cannot read it: ${cutText(said, 200)}` }]);
  }
}

/** The text of a policy, for people. */
export function cedarText(policy: PolicyJson): string {
  const answer = cedar.use((module) => module.policyToText(policy));
  return answer.type === "success" ? answer.text : JSON.stringify(policy);
}

function invalid(path: string, errors: readonly { message: string }[]): SovereignError {
  // It quotes what it cannot read, however long and of whatever characters that is.
  const found = printable(cutText(errors[0]?.message ?? "unknown", 400));
  const text = `${path}: not a valid Cedar policy: ${found}`;
  return new SovereignError("ERR_POLICY_INVALID", text, { problems: errors.length });
}

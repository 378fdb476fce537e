import {
  type JsonObject,
  type JsonValue,
  quoted,
  SovereignError,
  readFormat,
} from "@sovereign/core";
import { findSkill, type PinOwn, secretTexts, type Skill, takesSecret } from "../skills/index.ts";
import { type Plan, type PlanStep, STEPS_MAX } from "./plan-format.ts";
import { type Reference, referencesIn, resolveReferences } from "./references.ts";

/** A step that was checked: what it needs is complete, and sorted. */
export interface CheckedStep extends PlanStep {
  readonly version: string;
}

/** A plan that can be run. */
export interface CheckedPlan extends Omit<Plan, "steps"> {
  readonly steps: readonly CheckedStep[];
}

/**
 * Check a plan against the skills: every reference leads somewhere, there is no cycle, every constant
 * has its type. What is referred to is needed, whether the plan says so or not.
 *
 * @param placeOf where a part of the plan stands in its file, for messages
 * @param pinOwn looks skills of the tenant's own up
 * @throws ERR_PLAN_INVALID, ERR_PLAN_REFERENCE, ERR_SKILL_UNKNOWN, ERR_SKILL_INPUT, ERR_SKILL_CHANGED
 */
export function checkPlan(
  plan: Plan,
  placeOf: (path: readonly PropertyKey[]) => string = (path) => path.join("."),
  pinOwn: PinOwn = noneOwn,
): CheckedPlan {
  const ids = new Set(plan.steps.map(({ id }) => id));
  const steps = plan.steps.map((given, at): CheckedStep => {
    const where = placeOf(["steps", at]);
    const found = findSkill(given.skill);
    const pinned = found.isOwn ? pinOwn(given.with, where) : { with: given.with, skill: found };
    const { skill } = pinned;
    const step = { ...given, with: pinned.with };
    const references = [...referencesIn(step.with), ...referencesIn(step.when?.value ?? null)];
    for (const reference of references) checkReference(reference, step, ids, plan, where);
    const named = references.flatMap(({ step: of }) => (of === null ? [] : [of]));
    const needs = [...new Set([...step.needs, ...named])].sort();
    const nowhere = needs.find((one) => !ids.has(one));
    if (nowhere !== undefined) {
      throw invalid(`${where}: ${step.id} needs ${quoted(nowhere)}, which is no step of the plan`);
    }
    // The plan's own inputs are known before anything runs; outputs of steps are not.
    const known = { inputs: plan.inputs, outputs: null };
    const expanded = resolveReferences(step.with, known, step.id) as JsonObject;
    checkSecrets(skill, step, where);
    checkConstants(skill, step, expanded, where);
    return { ...step, needs, version: skill.version };
  });
  refuseCycles(steps);
  return { ...plan, steps };
}

function noneOwn(): never {
  throw new SovereignError("ERR_SKILL_UNKNOWN", "There are no skills of one's own here.");
}

function checkReference(
  { text, step: of, path }: Reference,
  { id }: PlanStep,
  ids: ReadonlySet<string>,
  { inputs }: Plan,
  where: string,
): void {
  const [input = ""] = path;
  const found =
    of === null
      ? Object.hasOwn(inputs, String(input))
        ? null
        : `the plan has no input ${quoted(String(input))}`
      : !ids.has(of)
        ? `the plan has no step ${quoted(of)}`
        : of === id
          ? "a step cannot refer to itself"
          : null;
  if (found === null) return;
  const message = `${where}: the reference ${quoted(text)}: ${found}.`;
  throw new SovereignError("ERR_PLAN_REFERENCE", message, { step: id });
}

/** A secret goes where its skill takes one, and nowhere else: all the rest stands in the ledger. */
function checkSecrets(skill: Skill, step: PlanStep, where: string): void {
  const inCondition = secretTexts(step.when?.value ?? null).size > 0;
  const lost = [...secretTexts(step.with).keys()].find((place) => !takesSecret(skill, place));
  if (!inCondition && lost === undefined) return;
  const takes = skill.secrets.map((one) => `with.${one}`).join(", ") || "none";
  const at = inCondition ? "when" : `with.${lost ?? ""}`;
  const text = `${where}: the step ${step.id} refers to a secret at ${at}. ${skill.name} takes secrets at: ${takes}.`;
  throw new SovereignError("ERR_PLAN_REFERENCE", text, { step: step.id });
}

/** What is wrong below a value that holds a reference can be told only when that is looked up. */
function checkConstants(skill: Skill, step: PlanStep, given: JsonObject, where: string): void {
  const result = readFormat(skill.input, given);
  const issues = result.success ? [] : result.error.issues;
  const issue = issues.find(({ path }) => !holdsReference(given, path));
  if (issue !== undefined) {
    const at = ["with", ...issue.path.map(String)].join(".");
    const text = `${where}: the step ${step.id} gives ${skill.name} at ${at}: ${issue.message}`;
    throw new SovereignError("ERR_SKILL_INPUT", text, { step: step.id });
  }
  if (step.retry === undefined || step.retry.max === 0 || !result.success) return;
  if (referencesIn(given).length > 0) return;
  if (skill.repeat(result.data as JsonObject) !== "unsafe") return;
  throw invalid(
    `${where}: the step ${step.id} may do its work twice, so it takes no retry. Leave retry out, or say idempotent: true where the server keeps to Idempotency-Key.`,
  );
}

/** True where the value at a path, or one above it, is or holds a reference. */
function holdsReference(given: JsonObject, path: readonly PropertyKey[]): boolean {
  let at: JsonValue = given;
  for (const key of path) {
    if (typeof at !== "object" || at === null) break;
    const child: JsonValue | undefined = Array.isArray(at)
      ? at[Number(key)]
      : Object.hasOwn(at, String(key))
        ? at[String(key)]
        : undefined;
    if (child === undefined) return false;
    at = child;
  }
  return at !== given && referencesIn(at).length > 0;
}

/** Kahn's algorithm: what is left when nothing more is free goes round in a circle. */
function refuseCycles(steps: readonly CheckedStep[]): void {
  const left = new Map(steps.map(({ id, needs }) => [id, new Set(needs)]));
  for (let round = 0; round <= STEPS_MAX && left.size > 0; round++) {
    const free = [...left].filter(([, needs]) => needs.size === 0).map(([id]) => id);
    if (free.length === 0) break;
    for (const id of free) left.delete(id);
    for (const needs of left.values()) for (const id of free) needs.delete(id);
  }
  if (left.size === 0) return;
  throw invalid(`the steps ${[...left.keys()].slice(0, 8).join(", ")} need each other: a cycle`);
}

function invalid(text: string): SovereignError {
  return new SovereignError("ERR_PLAN_INVALID", text);
}

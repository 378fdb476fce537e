import {
  ACTION_BYTES_MAX,
  type Action,
  type ActionContext,
  type ActionParams,
  type ArtifactRef,
  base64Decode,
  canonicalBytes,
  errorRow,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import {
  defineEffect,
  type EffectRegistry,
  type EffectResult,
  type TypedInvocation,
} from "../kernel/index.ts";
import type { ArtifactStore, KeptValues } from "../runs/index.ts";
import type { Clock } from "../system/index.ts";
import type { Sandbox } from "../sandbox/index.ts";
import { runOwnSkill } from "./own-run.ts";
import type { OwnSkills } from "./own-store.ts";
import { findSkill, SKILLS } from "./registry.ts";
import { secretNames } from "./secret-texts.ts";
import type { Skill } from "./skill.ts";
import type { HostAnswer, SkillHost } from "./skill-host.ts";
import type { LentStep, SkillNetwork } from "./skill-network.ts";

export interface SkillEffectOptions {
  readonly artifacts: ArtifactStore;
  readonly clock: Clock;
  /** True where the policy names exactly this host for this action. */
  readonly isNamed: (type: string, host: string) => boolean;
  readonly values: KeptValues;
  /** Where skills without a network run. */
  readonly host: Pick<SkillHost, "call" | "ready">;
  /** Where skills with one run. */
  readonly network: SkillNetwork;
  /** The skills that the tenant trusts, and where each runs alone. */
  readonly own: { readonly skills: OwnSkills; readonly sandbox: Sandbox };
}

type SkillInvocation = Omit<TypedInvocation<"skill.http_call">, "params"> & {
  readonly params: ActionParams<"skill.http_call">;
};

/** The effects of skills: each does what its skill says, and nothing but what was authorised. */
export function createSkillEffects(options: SkillEffectOptions): EffectRegistry {
  const work = (invocation: SkillInvocation): Promise<EffectResult> =>
    runSkill(options, invocation);
  const names = Object.keys(SKILLS) as (keyof typeof SKILLS)[];
  return Object.fromEntries(
    names.map((name) => [`skill.${name}`, defineEffect(`skill.${name}`, work)]),
  );
}

async function runSkill(
  options: SkillEffectOptions,
  { action, context, params, signal, idempotencyKey }: SkillInvocation,
): Promise<EffectResult> {
  const { clock } = options;
  const skill = findSkill(action.type.slice("skill.".length));
  const input = inputFor(skill, params, action.resource);
  if (skill.inControl === null && !skill.isOwn) {
    const isNetworked = skill.model(input) !== null || skill.hosts(input).length > 0;
    await (isNetworked ? options.network : options.host).ready();
  }
  const began = clock.monotonicMs();
  const time = AbortSignal.timeout(params.timeout_ms);
  const either = AbortSignal.any([signal, time]);
  let happened = false;
  try {
    const { timeout_ms: timeoutMs } = params;
    const asked = { skill, input, action, context, idempotencyKey, timeoutMs };
    const answer = await carryOut(options, asked, either);
    happened = true;
    const { value, costMicrousd, tokens } = answer;
    parseFormat(skill.output, value, `${skill.name} output`, "ERR_EFFECT_RESULT");
    const output = {
      value,
      cost_microusd: costMicrousd + (params.cost_microusd ?? 0),
      ...(tokens === undefined ? {} : { tokens }),
    };
    // A step that is recalled has what the ledger has: no more than fits in there is an output.
    const { length } = canonicalBytes(output);
    if (length > ACTION_BYTES_MAX) {
      const text = `${skill.name} gave ${length} bytes; at most ${ACTION_BYTES_MAX} are an output`;
      throw new SovereignError("ERR_SKILL_FAILED", text);
    }
    const artifacts = await keep(options.artifacts, context, answer.keep);
    const usage = {
      wall_ms: Math.max(0, Math.round(clock.monotonicMs() - began)),
      output_bytes: 0,
    };
    return { status: "completed", output, artifacts, usage };
  } catch (error) {
    const isStopped = signal.aborted;
    if (isStopped || !time.aborted) throw lostIn({ skill, input, error, happened, isStopped });
    const text = `${skill.name} did not end within ${params.timeout_ms} ms`;
    const late = new SovereignError("ERR_SKILL_TIMEOUT", text, {}, error);
    throw lostIn({ skill, input, error: late, happened, isStopped: false });
  }
}

interface Asked {
  readonly skill: Skill;
  readonly input: JsonObject;
  readonly action: Action;
  readonly context: ActionContext;
  readonly idempotencyKey: string;
  readonly timeoutMs: number;
}

/** In the control process, in the host that computes, or in the one with a way out. */
async function carryOut(
  options: SkillEffectOptions,
  asked: Asked,
  signal: AbortSignal,
): Promise<HostAnswer & { readonly costMicrousd: number; readonly tokens?: number }> {
  const { values, host, network } = options;
  const { skill, input, context, idempotencyKey } = asked;
  if (skill.inControl !== null) {
    const value: JsonValue = await skill.inControl(input, { values, signal });
    return { value, keep: [], costMicrousd: 0 };
  }
  if (skill.isOwn)
    return { value: await runOwn(options, asked, signal), keep: [], costMicrousd: 0 };
  const request = { skill: skill.name, input, key: idempotencyKey, token: "", model: null };
  const model = skill.model(input);
  if (model !== null) return network.converse({ request, context, ...model }, signal);
  const [named] = skill.hosts(input);
  if (named === undefined) return { ...(await host.call(request, signal)), costMicrousd: 0 };
  const step = stepOf(options, asked, named);
  return { ...(await network.perform({ ...step, request }, signal)), costMicrousd: 0 };
}

function stepOf(
  { isNamed }: SkillEffectOptions,
  { skill, input, action, context }: Asked,
  host: string,
): LentStep {
  const named = isNamed(action.type, host);
  return { action, context, host, isNamed: named, secrets: secretNames(skill, input) };
}

/** Alone in a sandbox, which has a way to the step's host where the skill has one. */
function runOwn(
  options: SkillEffectOptions,
  asked: Asked,
  signal: AbortSignal,
): Promise<JsonValue> {
  const { skill, input, idempotencyKey, timeoutMs } = asked;
  const isUnsafe = skill.repeat(input) === "unsafe";
  const call = { ...options.own, input, idempotencyKey, timeoutMs, isUnsafe };
  const [host] = skill.hosts(input);
  if (host === undefined) return runOwnSkill({ ...call, door: null }, signal);
  return options.network.lend(stepOf(options, asked, host), signal, (door) =>
    runOwnSkill({ ...call, door }, signal),
  );
}

function keep(
  artifacts: ArtifactStore,
  { step_id: step }: ActionContext,
  kept: HostAnswer["keep"],
): Promise<ArtifactRef[]> {
  return Promise.all(
    kept.map(({ name, type, base64 }) =>
      artifacts.put(`${step}/${name}`, base64Decode(base64), type),
    ),
  );
}

interface Lost {
  readonly skill: Skill;
  readonly input: JsonObject;
  readonly error: unknown;
  readonly happened: boolean;
  /** By whoever may stop it, and not by its own time. */
  readonly isStopped: boolean;
}

/**
 * What failed on its way may have happened: where that matters it is said. What passes would be tried
 * again by itself, also after the call itself.
 */
function lostIn({ skill, input, error, happened, isStopped }: Lost): unknown {
  const known = isSovereignError(error);
  if (skill.repeat(input) !== "unsafe") {
    // Who was stopped did not fail: what it looked like from inside is no end of its own.
    return known || isStopped
      ? error
      : new SovereignError("ERR_SKILL_FAILED", `${skill.name} failed`, {}, error);
  }
  if (known && error.code !== "ERR_SKILL_TIMEOUT") {
    const mayHaveHappened = happened || error.details["mayHaveHappened"] === true;
    if (!mayHaveHappened || errorRow(error.code).kind !== "transient") return error;
  }
  const why = error instanceof Error ? error.message : "it failed";
  const text = `${skill.name}: ${why}; nobody knows whether it happened`;
  return new SovereignError("ERR_OUTCOME_UNKNOWN", text, {}, error);
}

/** @throws ERR_SKILL_INPUT where what was authorised is not what would be done */
function inputFor(
  skill: Skill,
  { version, input: given }: ActionParams<"skill.http_call">,
  resource: string,
): JsonObject {
  if (version !== skill.version) {
    const text = `${skill.name}: the plan was made for version ${version}; this is ${skill.version}`;
    throw new SovereignError("ERR_SKILL_INPUT", text);
  }
  const input = readInput(skill, given, skill.name);
  const acts = skill.resource(input);
  if (acts === resource) return input;
  const text = `${skill.name}: it would act on ${acts}; ${resource} was authorised`;
  throw new SovereignError("ERR_SKILL_INPUT", text);
}

/** A skill's input in the shape of its schema. @throws ERR_SKILL_INPUT */
export function readInput(skill: Skill, given: JsonObject, what: string): JsonObject {
  return parseFormat(skill.input, given, what, "ERR_SKILL_INPUT") as JsonObject;
}

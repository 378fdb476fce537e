import {
  ACTION_BYTES_MAX,
  type Action,
  type ActionContext,
  type ArtifactRef,
  canonicalSize,
  cutText,
  digestOf,
  type ErrorCode,
  fields,
  frozenCopy,
  type JsonValue,
  parseCopy,
} from "@sovereign/core";
import { z } from "zod";
import { knownCode } from "./codes.ts";
import type { Effect, EffectResult, Invocation, ScramGate } from "./ports.ts";
import { preflight } from "./preflight.ts";
import { readThrown } from "./thrown.ts";

/** Artifacts stand whole in the entry, beside an output of up to 24 KiB. */
const ARTIFACTS_BYTES_MAX = 32 * 1024;
const REASON_CHARS_MAX = 2000;

const completed = z.strictObject({
  status: z.literal("completed"),
  output: fields.json,
  artifacts: z.array(fields.artifactRef),
  usage: fields.usage,
});

/** An effect as it was when the kernel was made: nothing of it is looked up later. */
export interface HeldEffect {
  readonly run: (invocation: Invocation) => Promise<EffectResult>;
  readonly recall: NonNullable<Effect["recall"]> | null;
}

/** @throws TypeError for what cannot be called */
export function holdEffect(type: string, effect: Effect): HeldEffect {
  if (typeof effect !== "function") throw new TypeError(`the effect of ${type} is no function`);
  const recall = Object.hasOwn(effect, "recall") ? effect.recall : undefined;
  return { run: effect, recall: recall?.bind(effect) ?? null };
}

/** What an effect is called with, and what may keep it from being called. */
export interface EffectCall {
  readonly effect: HeldEffect;
  readonly action: Action;
  readonly context: ActionContext;
  readonly signal: AbortSignal;
  readonly scram: ScramGate;
}

/**
 * Call the effect, once, and take what it answers as a value of somebody else's. It has happened,
 * whatever it answers, so every answer and every exception is a result that can be recorded.
 */
export async function callEffect(call: EffectCall): Promise<EffectResult> {
  const { effect, context, signal, scram } = call;
  // Authority took its time: what was stopped or cancelled since then does not begin.
  const gate = preflight(scram, context);
  if (!gate.armed) return { status: "killed", code: gate.code, reason: gate.reason };
  if (isAborted(signal)) {
    return {
      status: "killed",
      ...why(signal.reason, "ERR_EFFECT_KILLED", "cancelled before it began"),
    };
  }
  const result = await runEffect(call);
  if (result.status !== "failed" || effect.recall === null) return result;
  // It may have failed after it had happened: then it is recorded as what it did.
  return (await recallEffect(call).catch(() => null)) ?? result;
}

async function runEffect({ effect, action, context, signal }: EffectCall): Promise<EffectResult> {
  try {
    return readResult(await effect.run(invocationOf({ action, context, signal })));
  } catch (error) {
    // What it died of is why it was to end, whatever the death looked like from inside.
    const cause: unknown = readThrown(signal.reason).ours ? signal.reason : error;
    if (isAborted(signal)) return { status: "killed", ...why(cause, "ERR_EFFECT_KILLED") };
    return { status: "failed", ...why(error, "ERR_EFFECT_FAILED") };
  }
}

/**
 * Ask whether an earlier attempt happened. Only a good end is taken: what failed, or is not
 * known, is tried again under a permission of its own.
 */
export async function recallEffect({
  effect,
  action,
  context,
  signal,
}: Omit<EffectCall, "scram">): Promise<Extract<EffectResult, { status: "completed" }> | null> {
  if (effect.recall === null) return null;
  const found = await effect.recall(invocationOf({ action, context, signal }));
  if (found === null) return null;
  const result = readResult(found);
  return result.status === "completed" ? result : null;
}

/** The signal is the effect's own: what it does to that object changes nothing that we ask. */
function invocationOf({
  action,
  context,
  signal,
}: Omit<EffectCall, "scram" | "effect">): Invocation {
  const { run_id, step_id } = context;
  const idempotencyKey = digestOf({ run_id, step_id });
  return { action, context, idempotencyKey, signal: AbortSignal.any([signal]) };
}

/** Asked each time: it changes while an effect runs. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/**
 * What an effect answered, as a value of our own.
 * @param given untrusted: may be anything, and change while it is looked at
 */
export function readResult(given: unknown): EffectResult {
  try {
    const { status, code, reason } = given as { status: unknown; code?: unknown; reason?: unknown };
    if (status === "failed" || status === "killed") return readEnd(status, code, reason);
    const result = parseCopy(completed, given, "result");
    // Both are measured, and stand in the entry and in the step's row: written once for all of them.
    const output = frozenCopy(result.output);
    const artifacts = frozenCopy(result.artifacts) as ArtifactRef[];
    const length = canonicalSize(artifacts);
    if (length > ARTIFACTS_BYTES_MAX) return noResult(`artifacts of ${length} bytes`);
    return Object.freeze({ ...result, output, artifacts });
  } catch (error) {
    return noResult(readThrown(error).message ?? "it cannot be read");
  }
}

function readEnd(status: "failed" | "killed", code: unknown, reason: unknown): EffectResult {
  const text = typeof reason === "string" ? reason : "it gave no reason";
  return {
    status,
    code: knownCode(code, status === "killed" ? "ERR_EFFECT_KILLED" : "ERR_EFFECT_FAILED"),
    reason: cutText(text, REASON_CHARS_MAX),
  };
}

function noResult(found: string): EffectResult {
  const reason = `the effect ran, and what it answered is no result: ${found}`;
  return { status: "failed", code: "ERR_EFFECT_RESULT", reason: cutText(reason, REASON_CHARS_MAX) };
}

/** Large outputs go by digest; whoever gave them has them. */
export function recordable(output: JsonValue): JsonValue {
  const length = canonicalSize(output);
  return length <= ACTION_BYTES_MAX ? output : { output_digest: digestOf(output), bytes: length };
}

function why(
  error: unknown,
  fallback: ErrorCode,
  silent = "the effect threw what is not an error",
): { code: ErrorCode; reason: string } {
  const { ours, code, message } = readThrown(error);
  const reason = cutText(message ?? silent, REASON_CHARS_MAX);
  if (ours) return { code: knownCode(code, fallback), reason };
  // What we could not write ourselves is no fault of what was asked for.
  const full = code === "ENOSPC" || code === "EDQUOT";
  return { code: full ? "ERR_DISK_LOW" : fallback, reason };
}

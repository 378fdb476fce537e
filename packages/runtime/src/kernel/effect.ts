import {
  ACTION_BYTES_MAX,
  type Action,
  type ActionContext,
  canonicalBytes,
  cutText,
  deepFreeze,
  digestOf,
  type ErrorCode,
  fields,
  frozenCopy,
  isSovereignError,
  type JsonValue,
  parseFormat,
} from "@sovereign/core";
import { z } from "zod";
import { knownCode } from "./codes.ts";
import type { Effect, EffectResult, ScramGate } from "./ports.ts";
import { preflight } from "./preflight.ts";

/** Artifacts stand whole in the entry, beside an output of up to 24 KiB. */
const ARTIFACTS_BYTES_MAX = 32 * 1024;
const REASON_CHARS_MAX = 2000;

const completed = z.strictObject({
  status: z.literal("completed"),
  output: fields.json,
  artifacts: z.array(fields.artifactRef),
  usage: fields.usage,
});

/** What an effect is called with, and what may keep it from being called. */
export interface EffectCall {
  readonly effect: Effect;
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
  if (result.status !== "failed" || effect.recall === undefined) return result;
  // It may have failed after it had happened: then it is recorded as what it did.
  return (await recallEffect(call).catch(() => null)) ?? result;
}

async function runEffect({ effect, action, context, signal }: EffectCall): Promise<EffectResult> {
  const { run_id, step_id } = context;
  try {
    const idempotencyKey = digestOf({ run_id, step_id });
    return readResult(await effect({ action, context, idempotencyKey, signal }));
  } catch (error) {
    // What it died of is why it was to end, whatever the death looked like from inside.
    const cause: unknown = isSovereignError(signal.reason) ? signal.reason : error;
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
  if (effect.recall === undefined) return null;
  const { run_id, step_id } = context;
  const idempotencyKey = digestOf({ run_id, step_id });
  const found = await effect.recall({ action, context, idempotencyKey, signal });
  if (found === null) return null;
  const result = readResult(found);
  return result.status === "completed" ? result : null;
}

/** Asked each time: it changes while an effect runs. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** @param given untrusted: may be anything, and change while it is looked at */
function readResult(given: unknown): EffectResult {
  try {
    const { status, code, reason } = given as { status: unknown; code?: unknown; reason?: unknown };
    if (status === "failed" || status === "killed") return readEnd(status, code, reason);
    const result = deepFreeze(parseFormat(completed, frozenCopy(given), "result"));
    const { length } = canonicalBytes(result.artifacts);
    if (length > ARTIFACTS_BYTES_MAX) return noResult(`artifacts of ${length} bytes`);
    return result;
  } catch (error) {
    return noResult(error instanceof Error ? messageOf(error) : "it cannot be read");
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
  const { length } = canonicalBytes(output);
  return length <= ACTION_BYTES_MAX ? output : { output_digest: digestOf(output), bytes: length };
}

function why(
  error: unknown,
  fallback: ErrorCode,
  silent = "the effect threw what is not an error",
): { code: ErrorCode; reason: string } {
  if (isSovereignError(error)) {
    const reason = cutText(error.message, REASON_CHARS_MAX);
    return { code: knownCode(error.code, fallback), reason };
  }
  const said = error instanceof Error ? messageOf(error) : silent;
  // What we could not write ourselves is no fault of what was asked for.
  const full = ["ENOSPC", "EDQUOT"].includes((error as NodeJS.ErrnoException | null)?.code ?? "");
  return { code: full ? "ERR_DISK_LOW" : fallback, reason: cutText(said, REASON_CHARS_MAX) };
}

/** An error's message may be anything that somebody put there. */
function messageOf(error: Error): string {
  const message: unknown = error.message;
  return typeof message === "string" ? message : "the effect threw an error without a message";
}

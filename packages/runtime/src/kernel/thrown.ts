import { isPromise } from "node:util/types";
import { isSovereignError } from "@sovereign/core";

/** What was thrown, or given as a reason, as far as it can be read. */
export interface Thrown {
  /** True for an error of ours. */
  readonly ours: boolean;
  readonly code: string | null;
  readonly message: string | null;
}

const UNREADABLE: Thrown = Object.freeze({ ours: false, code: null, message: null });

/**
 * Read what somebody threw. It never throws itself: an error's fields may be getters, and it may be a
 * proxy, and neither may keep an end from being recorded.
 *
 * @param thrown untrusted: anything at all
 */
export function readThrown(thrown: unknown): Thrown {
  try {
    if (!(thrown instanceof Error)) return UNREADABLE;
    const { code, message } = thrown as { readonly code?: unknown; readonly message: unknown };
    return {
      ours: isSovereignError(thrown),
      code: typeof code === "string" ? code : null,
      message: typeof message === "string" ? message : null,
    };
  } catch {
    return UNREADABLE;
  }
}

/**
 * A field of an answer that somebody else gave: its own, and not one that a program put on every
 * object.
 *
 * @param answer untrusted: anything at all
 */
export function ownField(answer: unknown, name: string): unknown {
  if (typeof answer !== "object" || answer === null || !Object.hasOwn(answer, name))
    return undefined;
  return (answer as Record<string, unknown>)[name];
}

/**
 * Nobody waits for this answer. Where it is a promise that fails, its failure must not end the
 * process, and with it whatever runs. Promises of other realms are some as well, and none is asked
 * for a `catch` of its own.
 */
export function leaveUnheard(answer: unknown): void {
  if (!isPromise(answer)) return;
  try {
    void Promise.prototype.then.call(answer, undefined, () => undefined);
  } catch {
    // It answers no reader: there is nothing that could be done with it.
  }
}

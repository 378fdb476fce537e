import {
  ACTION_BYTES_MAX,
  type Action,
  type ActionContext,
  canonicalSize,
  digestOf,
  type Envelope,
  frozenCopy,
  formats,
  isSovereignError,
  type JsonValue,
  parseCopy,
  SovereignError,
} from "@sovereign/core";
import type { Authorization } from "./authorization.ts";

/** One action to be done, with the permission to do it. All of it is untrusted. */
export interface ExecuteRequest {
  readonly action: Action;
  readonly context: ActionContext;
  readonly authorization: Authorization | null;
  readonly approvals: readonly Envelope[];
  readonly signal?: AbortSignal;
}

/** An approval as it came: an envelope, or why it is none. */
export type GivenApproval =
  | { readonly envelope: Envelope }
  | { readonly envelope: null; readonly reason: string };

/** What was asked, as it was at the door. Nothing that the caller holds is read after this. */
export interface TakenRequest {
  readonly action: Action;
  readonly context: ActionContext;
  readonly actionDigest: string;
  readonly contextDigest: string;
  /** Null where none came; a reason where what came is no permission. */
  readonly authorization: Authorization | null | { readonly reason: string };
  readonly approvals: readonly GivenApproval[];
  readonly signal: AbortSignal;
}

/** A request for a run that can be named, which asks for nothing that can be done. */
export interface MalformedRequest {
  readonly context: ActionContext;
  readonly actionDigest: string;
  readonly error: SovereignError;
}

/** More would only make the judgement longer: each is tried with every enrolled key. */
const APPROVALS_MAX = 64;
/** What an envelope of a permission may have; one over a whole action has less than 40 KiB. */
const ENVELOPE_CHARS_MAX = 128 * 1024;

/**
 * Take a request in: copied once, frozen, and parsed from the copy.
 *
 * @param bare true where no permission is asked for, and none is read
 * @throws ERR_FORMAT_INVALID, or an ERR_JSON code, where not even the context can be read: then
 *   there is no run in whose stream the refusal could stand
 */
export function takeRequest(
  request: Partial<ExecuteRequest>,
  bare = false,
): TakenRequest | MalformedRequest {
  // Each property is read once, here. What a getter answers the next time is nothing to us.
  const context = partOf(request, "context");
  const where = parseCopy(formats.actionContext, context, "action context");
  let copied: JsonValue = null;
  try {
    copied = frozenCopy(partOf(request, "action"));
    const taken = parseCopy(formats.action, copied, "action");
    refuseTooLarge(taken);
    return {
      action: taken,
      context: where,
      actionDigest: digestOf(taken),
      contextDigest: digestOf(where),
      authorization: bare ? null : takeAuthorization(partOf(request, "authorization")),
      approvals: bare ? [] : takeApprovals(partOf(request, "approvals")),
      signal: takeSignal(partOf(request, "signal")),
    };
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return { context: where, actionDigest: digestOf(copied), error };
  }
}

export function isMalformed(taken: TakenRequest | MalformedRequest): taken is MalformedRequest {
  return Object.hasOwn(taken, "error");
}

/** @throws ERR_JSON_UNSUPPORTED where it throws when it is read, as a getter or a proxy may */
function partOf(request: Partial<ExecuteRequest>, part: keyof ExecuteRequest): unknown {
  try {
    return request[part];
  } catch (cause) {
    const text = `The request's ${part} cannot be read.`;
    throw new SovereignError("ERR_JSON_UNSUPPORTED", text, { part }, cause);
  }
}

function takeAuthorization(given: unknown): TakenRequest["authorization"] {
  if (given === null || given === undefined) return null;
  try {
    const { role, binding } = given as Authorization;
    return Object.freeze({ role: takeEnvelope(role), binding: takeEnvelope(binding) });
  } catch (error) {
    return { reason: isSovereignError(error) ? error.message : "the permission cannot be read" };
  }
}

function takeApprovals(given: unknown): readonly GivenApproval[] {
  let list: JsonValue;
  try {
    list = frozenCopy(given);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return [{ envelope: null, reason: error.message }];
  }
  if (!Array.isArray(list)) return [{ envelope: null, reason: "expected a list of approvals" }];
  if (list.length > APPROVALS_MAX) {
    const text = `Expected at most ${APPROVALS_MAX} approvals, found ${list.length}.`;
    throw new SovereignError("ERR_FORMAT_INVALID", text);
  }
  return list.map((one) => {
    try {
      return { envelope: takeEnvelope(one) };
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      return { envelope: null, reason: error.message };
    }
  });
}

function takeEnvelope(given: unknown): Envelope {
  const envelope = parseCopy(formats.envelope, given, "envelope", "ERR_AUTHORITY_MALFORMED");
  if (envelope.payload.length > ENVELOPE_CHARS_MAX) {
    const text = `envelope: payload: ${envelope.payload.length} bytes of base64, more than ${ENVELOPE_CHARS_MAX} bytes`;
    throw new SovereignError("ERR_AUTHORITY_MALFORMED", text);
  }
  return envelope;
}

/** A signal of our own, so that what an effect and the kernel ask is not the caller's object. */
function takeSignal(given: unknown): AbortSignal {
  if (given === undefined) return new AbortController().signal;
  try {
    return AbortSignal.any([given as AbortSignal]);
  } catch (cause) {
    throw new SovereignError("ERR_FORMAT_INVALID", "signal: expected an AbortSignal", {}, cause);
  }
}

/** What is authorised must fit into one ledger entry, with its decision and envelopes' digests. */
function refuseTooLarge(action: Action): void {
  const length = canonicalSize(action);
  if (length <= ACTION_BYTES_MAX) return;
  throw new SovereignError(
    "ERR_ACTION_TOO_LARGE",
    `The action has ${length} bytes; at most ${ACTION_BYTES_MAX} are taken. Pass large inputs by digest.`,
    { bytes: length },
  );
}

import type {
  Action,
  ActionContext,
  ArtifactRef,
  Envelope,
  ErrorCode,
  JsonObject,
  JsonValue,
  KeyTable,
  PolicyDecision,
  Severity,
  Usage,
} from "@sovereign/core";

/** Is work allowed at all? Read at the start of every action, so it must be cheap. */
export interface ScramGate {
  /** @param owner whose work asks; null asks for everybody */
  preflight(
    owner: { readonly tenant_id: string; readonly run_id: string } | null,
  ): { armed: true } | { armed: false; code: ErrorCode; reason: string };
}

/** Decides; never acts. Must be deterministic for one policy and request. */
export interface PolicyDecider {
  /** The digest of the policy in force: what bindings must name. */
  readonly policyDigest: string;
  decide(action: Action, context: ActionContext): PolicyDecision;
}

/** The enrolled public keys. The kernel holds no private key. */
export interface KeyDirectory {
  current(): KeyTable;
  /** Read the key log again, after the ledger said that it has grown. */
  refresh(): Promise<KeyTable>;
}

/** One record for the run's stream. Durable when `record` resolves with `committed`. */
export interface LedgerRecord {
  readonly event: string;
  readonly severity: Severity;
  readonly data: JsonObject;
  readonly envelopes: readonly Envelope[];
  /** Nonces that this record uses up; the commit refuses a used one. */
  readonly nonces: readonly { readonly nonce: string; readonly expiresAt: string }[];
  /** The key epoch that the signatures were judged at; the commit refuses an older one. */
  readonly keyEpoch: number | null;
}

export type RecordVerdict =
  | { readonly status: "committed"; readonly index: number }
  | {
      readonly status: "refused";
      readonly reason:
        | "nonce_used"
        | "key_epoch"
        | "fenced"
        | "stream_conflict"
        | "invalid"
        /** Whom it calls has failed again and again. */
        | "breaker"
        /** A budget has no room for it. */
        | "budget"
        /** A permission was good when it was judged, and is not at the time of its entry. */
        | "expired"
        /** The place, a step and its attempt, was authorised before. */
        | "repeated"
        /** An end of what was not authorised, or has ended. */
        | "unauthorised";
      readonly detail: string;
    };

/**
 * Writes to the stream of one run.
 * @throws ERR_STORE_UNAVAILABLE when durability cannot be had now
 */
export interface Recorder {
  record(runId: string, record: LedgerRecord): Promise<RecordVerdict>;
  /**
   * True where an earlier process had exactly this action authorised at this place, and its end is
   * not recorded: only that is recalled. Without this method `record` alone judges.
   */
  wasLeftOpen?(context: ActionContext, actionDigest: string): boolean;
}

/** What an effect is given: the action, where it happens, and the way to be stopped. */
export interface Invocation {
  readonly action: Action;
  readonly context: ActionContext;
  /** The same for every attempt of one step: effects are at-least-once. */
  readonly idempotencyKey: string;
  readonly signal: AbortSignal;
}

export type EffectResult =
  | {
      readonly status: "completed";
      readonly output: JsonValue;
      readonly artifacts: readonly ArtifactRef[];
      readonly usage: Usage;
    }
  | { readonly status: "failed" | "killed"; readonly code: ErrorCode; readonly reason: string };

/** Does one type of action. It is called only by the kernel, after the intent is durable. */
export interface Effect {
  (invocation: Invocation): Promise<EffectResult>;
  /**
   * Says how an earlier attempt of the same step ended, found by its idempotency key, where the
   * process died before it could say so itself; null where it did not happen. It begins nothing.
   */
  readonly recall?: (invocation: Invocation) => Promise<EffectResult | null>;
}

export type EffectRegistry = Readonly<Record<string, Effect>>;

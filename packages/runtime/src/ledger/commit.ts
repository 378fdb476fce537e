import type {
  BudgetEnd,
  BudgetHold,
  BudgetSetting,
  IncidentChange,
  Mode,
  TraceChange,
} from "@sovereign/core";

/** Where a stream stands: how many entries it has and the hash of the last (64 zeros for none). */
export interface StreamHead {
  readonly count: number;
  readonly hash: string;
}

/** `halted`: a budget had no room, or something ran of which the ledger has no authorisation. */
export type RunStatus = "queued" | "running" | "pending" | "completed" | "failed" | "halted";
export type StepStatus = "running" | "completed" | "failed" | "killed" | "refused";

/** Columns of the run's row to write; the row is made on the first write. */
export interface RunWrite {
  readonly runId: string;
  readonly tenantId: string;
  readonly name: string;
  readonly mode: Mode;
  readonly status: RunStatus;
  readonly plan: Uint8Array;
  readonly planDigest: string;
  readonly reason: string | null;
  /** Set when the run is sealed. */
  readonly sealed: StreamHead | null;
}

/** Which data folders' workers may carry a run out. */
export type Carriers =
  | {
      /** The one data folder that has something of it which lies nowhere else, and what that is. */
      readonly node: string;
      readonly stays: string;
    }
  | {
      /** Every folder that keeps contents at this place, and has a key of this role. */
      readonly contents: string;
      readonly role: string;
    };

/** Where a run waits. */
export interface QueuePlace {
  readonly carriers: Carriers;
  /** From -100 to 100: the highest of a tenant's runs comes first. */
  readonly priority: number;
}

/** One step's row, keyed by run and step id. */
export interface StepWrite {
  readonly runId: string;
  readonly stepId: string;
  readonly status: StepStatus;
  readonly attempt: number;
  readonly actionDigest: string;
  /** Canonical JSON of what the step gave, once it completed. */
  readonly output: Uint8Array | null;
}

/** Whose failures a circuit breaker counts. */
export interface BreakerPlace {
  readonly skill: string;
  readonly host: string;
}

/** What must happen together, or not at all. */
export interface CommitItem {
  /** A tenant's id, or `installation`. */
  readonly log: string;
  readonly stream: string;
  /** Compare-and-swap: the commit is refused unless the stream stands exactly here. */
  readonly expectedHead: StreamHead;
  readonly entries: readonly { readonly bytes: Uint8Array; readonly hash: string }[];
  readonly envelopes?: readonly { readonly digest: string; readonly bytes: Uint8Array }[];
  /** Each must be unused; used from here on. */
  readonly nonces?: readonly { readonly nonce: string; readonly expiresAt: string }[];
  /** The commit is refused unless the stream `keys` of the log `installation` has this count. */
  readonly keyEpoch?: number;
  /** The commit is refused unless the run's row has this epoch. */
  readonly fence?: { readonly runId: string; readonly epoch: number };
  readonly run?: RunWrite;
  /** Has the run wait for a worker; or, with null, for none any more. */
  readonly queue?: { readonly runId: string; readonly place: QueuePlace | null };
  readonly step?: StepWrite;
  /** Rows of the run's trace. */
  readonly trace?: TraceChange;
  /** What the entry says of an incident: its row. Only of an item with one entry. */
  readonly incident?: IncidentChange;
  /** What budgets hold from here on. The commit is refused where one of them has no room. */
  readonly hold?: BudgetHold;
  /** What an attempt that has ended used of what was held for it. */
  readonly settled?: BudgetEnd;
  /** Whom the attempt calls. The commit is refused where that breaker is open. */
  readonly gate?: BreakerPlace;
  /** How a call ended, for its breaker. */
  readonly probe?: BreakerPlace & { readonly ok: boolean };
  /** Limits that are set by it. */
  readonly budget?: BudgetSetting;
}

export type CommitRefusal =
  | "stream_conflict"
  | "fenced"
  | "nonce_used"
  | "key_epoch"
  | "invalid"
  /** A budget has no room for what is to be held. */
  | "budget"
  /** The breaker of whom the attempt calls is open. */
  | "breaker";

export type CommitVerdict =
  | { readonly status: "committed"; readonly firstIndex: number }
  | { readonly status: "refused"; readonly reason: CommitRefusal; readonly detail: string };

/**
 * The ledger's one way to write.
 * @see docs/spec/ledger.md "Commit"
 */
export interface CommitPort {
  /**
   * Durable when it resolves with `committed`.
   * @throws ERR_STORE_UNAVAILABLE when it is certain that nothing was committed, or impossible to
   *   find out
   */
  commit(item: CommitItem): Promise<CommitVerdict>;
}

import type { Mode } from "@sovereign/core";

/** Where a stream stands: how many entries it has and the hash of the last (64 zeros for none). */
export interface StreamHead {
  readonly count: number;
  readonly hash: string;
}

export type RunStatus = "running" | "pending" | "completed" | "failed";
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
  readonly step?: StepWrite;
}

export type CommitRefusal = "stream_conflict" | "fenced" | "nonce_used" | "key_epoch" | "invalid";

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

/** An entry as the ledger keeps it: its hashed bytes, and its place in the log. */
export interface StoredEntry {
  readonly index: number;
  readonly hash: string;
  readonly bytes: Uint8Array;
  /** Set where a repair of the ledger took it for no evidence. */
  readonly aside?: boolean;
}

/** The bytes that an archive holds; null for what it does not hold. */
export interface ArchivedBytes {
  entry(log: string, index: number): Uint8Array | null;
  envelope(log: string, digest: string): Uint8Array | null;
}

/** A signed head of a log. */
export interface StoredCheckpoint {
  readonly size: number;
  /** A C2SP checkpoint. */
  readonly note: string;
}

/** The ledger, for those who make evidence of it. */
export interface LedgerReader {
  /** The entries of a stream from a sequence number on, in order. */
  readStream(log: string, stream: string, from?: number): AsyncIterable<StoredEntry>;
  /** The canonical bytes of envelopes by digest; an unknown digest is left out. */
  readEnvelopes(log: string, digests: readonly string[]): Promise<Map<string, Uint8Array>>;
  /** The smallest checkpoint of at least this size, so that one run always gets the same one. */
  checkpointCovering(log: string, size: number): Promise<StoredCheckpoint | null>;
  /** A set inclusion proof of the leaves at `indices` in the tree of `size`. */
  proveInclusionSet(
    log: string,
    size: number,
    indices: readonly number[],
  ): Promise<readonly Uint8Array[]>;
}

/** What reads whole logs as well as streams. */
export interface LogReader extends LedgerReader {
  /** All entries of a log in order, from an index on. */
  readLog(log: string, from?: number): AsyncIterable<StoredEntry>;
}

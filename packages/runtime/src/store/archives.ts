import type { StreamHead } from "../ledger/index.ts";

/** A run that could be archived, as its rows say. What its entries say decides. */
export interface OldRun {
  readonly runId: string;
  readonly head: StreamHead;
  /** The bytes of its last entry. */
  readonly last: Uint8Array;
}

/** An archive that was recorded. */
export interface RecordedArchive {
  /** The SHA-256 of the file. */
  readonly digest: string;
  /** Where the installation's log says so. */
  readonly recordedIndex: number;
  /** Of its entries, how many have their bytes in the database. */
  readonly inDatabase: number;
}

/** An entry of a log, with its place in its stream. */
export interface LogRow {
  readonly index: number;
  readonly stream: string;
  readonly sequence: number;
  readonly hash: string;
  /** Null where they are in an archive. */
  readonly bytes: Uint8Array | null;
}

/** What one step takes out of the database, or puts back. */
export interface Batch {
  readonly entries: readonly { readonly index: number; readonly bytes: Uint8Array }[];
  readonly envelopes: readonly {
    readonly digest: string;
    /** Asked for where they come back. */
    readonly bytes: () => Uint8Array;
    /** Of the entry that names it. */
    readonly index: number;
  }[];
}

/** What archives need to know of a tenant's log. */
export interface ArchiveRows {
  /** Runs that have ended and of which nothing is in an archive, by id. */
  oldRuns(): AsyncGenerator<OldRun>;
  /** The entries of these streams, in the order of the log. */
  entriesOf(streams: readonly string[]): AsyncGenerator<LogRow>;
  /** Envelopes in the order of these digests; null where they are in an archive. */
  envelopesOf(
    digests: readonly string[],
  ): AsyncGenerator<{ readonly digest: string; readonly bytes: Uint8Array | null }>;
  recorded(): Promise<RecordedArchive[]>;
}

/** What the database's owner alone may do with archives. */
export interface ArchiveKeeper {
  /**
   * Record which runs an archive holds, after the entry at `recordedIndex` of the installation's log.
   * @throws ERR_ARCHIVE_REFUSED where one of them is not one to archive any more
   */
  record(
    digest: string,
    recordedIndex: number,
    streams: ReadonlyMap<string, StreamHead>,
  ): Promise<void>;
  /** @returns how many entries left; those that had left before are not among them */
  takeOut(batch: Batch): Promise<number>;
  /** @returns how many entries came back */
  putBack(batch: Batch): Promise<number>;
}

import {
  canonicalize,
  ENTRY_BYTES_MAX,
  GENESIS_HASH,
  type JsonObject,
  type LedgerEntry,
  type Severity,
  SovereignError,
  sha256Hex,
} from "@sovereign/core";
import type { StreamHead } from "./commit.ts";

/** The head of a stream that has no entries yet. */
export const EMPTY_STREAM: StreamHead = Object.freeze({ count: 0, hash: GENESIS_HASH });

/** What an entry says, without its place. */
export interface EntryFields {
  readonly stream: string;
  readonly tenantId: string;
  readonly runId: string | null;
  readonly timestamp: string;
  readonly eventType: string;
  readonly severity: Severity;
  readonly data: JsonObject;
}

/** An entry that chains to a head, with its hashed bytes. */
export interface ChainedEntry {
  readonly entry: LedgerEntry;
  readonly bytes: Uint8Array;
  readonly hash: string;
  /** The head of the stream once this is in it. */
  readonly head: StreamHead;
}

/**
 * Chain the next entry to a stream's head. Pure: the caller who owns the stream knows its head,
 * so nothing is hashed under a database lock.
 *
 * @throws ERR_ENTRY_TOO_LARGE when the canonical form is above 65,535 bytes: put it by digest
 */
export function createEntry(head: StreamHead, fields: EntryFields): ChainedEntry {
  const entry: LedgerEntry = {
    stream: fields.stream,
    sequence: head.count,
    timestamp: fields.timestamp,
    event_type: fields.eventType,
    severity: fields.severity,
    tenant_id: fields.tenantId,
    run_id: fields.runId,
    data: fields.data,
    previous_hash: head.hash,
  };
  // A Buffer of Node's pool: small memory of its own for each entry is most of the collector's work.
  const bytes = Buffer.from(canonicalize(entry));
  if (bytes.length > ENTRY_BYTES_MAX) {
    throw new SovereignError(
      "ERR_ENTRY_TOO_LARGE",
      `A ${fields.eventType} entry has ${bytes.length} bytes; at most ${ENTRY_BYTES_MAX} fit. Record a digest instead.`,
      { bytes: bytes.length },
    );
  }
  const hash = sha256Hex(bytes);
  return { entry, bytes, hash, head: { count: head.count + 1, hash } };
}

import { z } from "zod";
import { count, digest, jsonObject, name, runId, streamName, timestamp } from "./common.ts";

/** The hash that a stream's first entry names as its predecessor. */
export const GENESIS_HASH = "0".repeat(64);

/** The most bytes that one entry's canonical form may have (C2SP tlog-tiles entry limit). */
export const ENTRY_BYTES_MAX = 65_535;

export const severity = z.enum(["INFO", "WARNING", "ERROR", "CRITICAL"]);
export type Severity = z.infer<typeof severity>;

/** noun.past, such as `run.admitted`. */
export const eventType = z.string().regex(/^[a-z][a-z0-9_]{0,40}\.[a-z][a-z0-9_]{0,40}$/);

/** The hashed part of a ledger entry: `hash` is the SHA-256 of its canonical form. */
export const ledgerEntry = z.strictObject({
  stream: streamName,
  /** From 0, without gaps. */
  sequence: count,
  timestamp,
  event_type: eventType,
  severity,
  tenant_id: name,
  run_id: runId.nullable(),
  data: jsonObject,
  previous_hash: digest,
});
export type LedgerEntry = z.infer<typeof ledgerEntry>;

/** An entry with its place: `index` is the leaf's number in the log's Merkle tree. */
export const placedEntry = z.strictObject({ index: count, hash: digest, entry: ledgerEntry });
export type PlacedEntry = z.infer<typeof placedEntry>;

import { parseCanonicalJson } from "../json/index.ts";
import type { LedgerEntry } from "./entry.ts";
import { ledgerEntry } from "./entry.ts";
import { entryData, type EventName } from "./events.ts";
import { parseFormat } from "./parse.ts";

/**
 * An entry that a store holds, which somebody else may have written: its form, and what it says of its
 * event. An event that is none of ours may say anything.
 *
 * @param bytes the canonical form of a ledger entry
 * @throws ERR_FORMAT_INVALID, and the ERR_JSON codes
 */
export function parseEntry(bytes: Uint8Array): LedgerEntry {
  const entry = parseFormat(ledgerEntry, parseCanonicalJson(bytes), "ledger entry");
  const { event_type: event, data } = entry;
  if (Object.hasOwn(entryData, event)) parseFormat(entryData[event as EventName], data, event);
  return entry;
}

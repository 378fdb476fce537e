import {
  formats,
  parseCanonicalJson,
  parseEntry,
  parseFormat,
  type PlacedEntry,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import type { LedgerReader, StoredEntry } from "./reader.ts";

/**
 * The entries of a run's stream, each what was hashed, and with the data that its event has. Whoever
 * wrote the rows may not have been us.
 *
 * @param from the sequence of the first one
 * @throws ERR_LEDGER_CORRUPT, ERR_FORMAT_INVALID and the ERR_JSON codes
 */
export async function* readRun(
  ledger: Pick<LedgerReader, "readStream">,
  tenantId: string,
  runId: string,
  from = 0,
): AsyncGenerator<PlacedEntry> {
  for await (const stored of ledger.readStream(tenantId, runId, from)) {
    yield placed(stored, parseEntry(stored.bytes));
  }
}

/**
 * An entry for a bundle: it is what was hashed. What its event says is judged by whoever verifies, so
 * that a false entry can be shown.
 *
 * @throws as {@link readRun}
 */
export function entryToShow(stored: StoredEntry): PlacedEntry {
  const value = parseCanonicalJson(stored.bytes);
  return placed(stored, parseFormat(formats.ledgerEntry, value, "ledger entry"));
}

function placed({ index, hash, bytes }: StoredEntry, entry: PlacedEntry["entry"]): PlacedEntry {
  if (sha256Hex(bytes) === hash) return { index, hash, entry };
  const text = `Entry ${index} of ${entry.stream} is not what was recorded.`;
  throw new SovereignError("ERR_LEDGER_CORRUPT", text, { index });
}

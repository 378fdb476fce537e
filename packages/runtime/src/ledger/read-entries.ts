import { formats, parseCanonicalJson, parseFormat, type PlacedEntry } from "@sovereign/core";
import type { LedgerReader } from "./reader.ts";

/** The entries of a run's stream, parsed. @param from the sequence of the first one */
export async function* readRun(
  ledger: Pick<LedgerReader, "readStream">,
  tenantId: string,
  runId: string,
  from = 0,
): AsyncGenerator<PlacedEntry> {
  for await (const { index, hash, bytes } of ledger.readStream(tenantId, runId, from)) {
    const entry = parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "ledger entry");
    yield { index, hash, entry };
  }
}

import {
  canonicalBytes,
  type Envelope,
  INSTALLATION_LOG,
  type Severity,
  SovereignError,
} from "@sovereign/core";
import { createEntry, EMPTY_STREAM } from "../ledger/index.ts";
import type { EnvelopeStore, Journal, JournalLine } from "../scram/index.ts";
import type { Store } from "../store/index.ts";

const STREAM = "scram";
const ATTEMPTS = 20;
const CRITICAL = new Set(["scram.activated", "scram.executed", "scram.reset"]);
const WARNING = new Set(["order.refused", "engine.lost", "deadman.lost", "discovery.found"]);

/**
 * Take the sentinel's journal into the ledger, one entry a line, in order: the stream's count is
 * the number of lines taken. Whatever happened while the database was down is caught up here.
 *
 * @throws ERR_STREAM_CONFLICT when others were always quicker
 */
export async function anchorJournal(
  store: Store,
  journal: Journal,
  envelopes: EnvelopeStore,
  attempt = 1,
): Promise<void> {
  let head = await store.streamHead(INSTALLATION_LOG, STREAM);
  for (const line of journal.lines.slice(head.count)) {
    const carried = envelopesOf(line, envelopes);
    const { bytes, hash } = createEntry(head.count === 0 ? EMPTY_STREAM : head, {
      stream: STREAM,
      tenantId: INSTALLATION_LOG,
      runId: null,
      timestamp: line.at,
      eventType: line.event,
      severity: severityOf(line),
      data: {
        ...line.data,
        journal: { sequence: line.sequence, previous_hash: line.previous_hash },
      },
    });
    const verdict = await store.commit({
      log: INSTALLATION_LOG,
      stream: STREAM,
      expectedHead: { count: head.count, hash: head.hash },
      entries: [{ bytes, hash }],
      envelopes: carried.map(([digest, envelope]) => ({ digest, bytes: canonicalBytes(envelope) })),
    });
    if (verdict.status === "refused") {
      if (attempt > ATTEMPTS) throw conflict();
      // Another process takes the same lines at the same time: go on where it is.
      return anchorJournal(store, journal, envelopes, attempt + 1);
    }
    head = { count: head.count + 1, hash };
  }
}

function envelopesOf(line: JournalLine, envelopes: EnvelopeStore): [string, Envelope][] {
  const named = (line.data["envelopes"] ?? {}) as Record<string, string>;
  return Object.values(named).map((digest) => [digest, envelopes.get(digest)]);
}

function conflict(): SovereignError {
  const text = "The kill switch's journal could not be taken into the ledger; try again.";
  return new SovereignError("ERR_STREAM_CONFLICT", text);
}

function severityOf({ event }: JournalLine): Severity {
  if (CRITICAL.has(event)) return "CRITICAL";
  return WARNING.has(event) ? "WARNING" : "INFO";
}

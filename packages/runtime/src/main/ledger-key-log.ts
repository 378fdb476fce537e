import {
  canonicalBytes,
  digestOf,
  type Envelope,
  type EntryData,
  formats,
  INSTALLATION_LOG,
  parseCanonicalJson,
  parseEnvelope,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import type { KeyLogEntry, KeyLogStore } from "../authority/index.ts";
import { type Clock, timestampOf } from "../kernel/index.ts";
import { createEntry, EMPTY_STREAM } from "../ledger/index.ts";
import type { Store } from "../store/index.ts";

/** The stream `keys` of the installation's log. */
export class LedgerKeyLog implements KeyLogStore {
  readonly #store: Store;
  readonly #clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  async read(from: number): Promise<KeyLogEntry[]> {
    const entries: KeyLogEntry[] = [];
    for await (const stored of this.#store.readStream(INSTALLATION_LOG, "keys", from)) {
      const value = parseCanonicalJson(stored.bytes);
      const entry = parseFormat(formats.ledgerEntry, value, "key log entry");
      const { envelopes } = entry.data as EntryData<"key.introduced">;
      const digest = envelopes.key_event;
      const found = await this.#store.readEnvelopes(INSTALLATION_LOG, [digest]);
      const bytes = found.get(digest);
      if (bytes === undefined) {
        const text = `The key log's envelope ${digest} is missing.`;
        throw new SovereignError("ERR_LEDGER_CORRUPT", text);
      }
      const { event_type: eventType, timestamp } = entry;
      entries.push({ eventType, timestamp, hash: stored.hash, envelope: parseEnvelope(bytes) });
    }
    return entries;
  }

  async append(sequence: number, eventType: string, envelope: Envelope): Promise<void> {
    const head =
      sequence === 0 ? EMPTY_STREAM : await this.#store.streamHead(INSTALLATION_LOG, "keys");
    const digest = digestOf(envelope);
    const { bytes, hash } = createEntry(head, {
      stream: "keys",
      tenantId: INSTALLATION_LOG,
      runId: null,
      timestamp: timestampOf(this.#clock),
      eventType,
      severity: eventType === "key.revoked" ? "WARNING" : "INFO",
      data: { envelopes: { key_event: digest } },
    });
    const verdict = await this.#store.commit({
      log: INSTALLATION_LOG,
      stream: "keys",
      expectedHead: { count: sequence, hash: head.hash },
      entries: [{ bytes, hash }],
      envelopes: [{ digest, bytes: canonicalBytes(envelope) }],
    });
    if (verdict.status === "committed") return;
    throw new SovereignError(
      "ERR_STREAM_CONFLICT",
      "Another process changed the key log at the same time. Look at it with `sovereign keys list`, then try again.",
      { sequence },
    );
  }
}

import {
  canonicalBytes,
  digestOf,
  type EntryData,
  INSTALLATION_LOG,
  parseEnvelope,
  SovereignError,
  fixClass,
  parseEntry,
} from "@sovereign/core";
import type { KeyLogEntry, KeyLogStore, NewKeyEvent } from "../authority/index.ts";
import { type Clock, timestampOf } from "../system/index.ts";
import { createEntry, EMPTY_STREAM } from "../ledger/index.ts";
import type { Store } from "../store/index.ts";

type KeyStore = Pick<Store, "readStream" | "readEnvelopes" | "streamHead" | "commit">;

/** The stream `keys` of the installation's log. */
export class LedgerKeyLog implements KeyLogStore {
  readonly #store: KeyStore;
  readonly #clock: Clock;

  constructor(store: KeyStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    Object.freeze(this);
  }

  async read(from: number): Promise<KeyLogEntry[]> {
    const entries: KeyLogEntry[] = [];
    for await (const stored of this.#store.readStream(INSTALLATION_LOG, "keys", from)) {
      const entry = parseEntry(stored.bytes);
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

  async append(sequence: number, events: readonly NewKeyEvent[]): Promise<boolean> {
    let head =
      sequence === 0 ? EMPTY_STREAM : await this.#store.streamHead(INSTALLATION_LOG, "keys");
    const expectedHead = { count: sequence, hash: head.hash };
    const timestamp = timestampOf(this.#clock);
    const entries = events.map(({ eventType, envelope }) => {
      const entry = createEntry(head, {
        stream: "keys",
        tenantId: INSTALLATION_LOG,
        runId: null,
        timestamp,
        eventType,
        severity: eventType === "key.revoked" ? "WARNING" : "INFO",
        data: { envelopes: { key_event: digestOf(envelope) } },
      });
      head = { count: head.count + 1, hash: entry.hash };
      return entry;
    });
    const verdict = await this.#store.commit({
      log: INSTALLATION_LOG,
      stream: "keys",
      expectedHead,
      entries: entries.map(({ bytes, hash }) => ({ bytes, hash })),
      envelopes: events.map(({ envelope }) => ({
        digest: digestOf(envelope),
        bytes: canonicalBytes(envelope),
      })),
    });
    return verdict.status === "committed";
  }
}

fixClass(LedgerKeyLog);

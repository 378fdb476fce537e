import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  canonicalBytes,
  digestOf,
  type Envelope,
  fields,
  formats,
  INSTALLATION_LOG,
  isSovereignError,
  type JsonObject,
  parseCanonicalJson,
  parseFormat,
  type Severity,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { type ChainedEntry, createEntry, type StreamHead } from "../../ledger/index.ts";
import type { DataFolder } from "../../home/index.ts";
import { EnvelopeStore, type Journal, type JournalLine } from "../../scram/index.ts";
import type { Store } from "../../store/index.ts";
import type { SovereignNode } from "./membership.ts";

const ATTEMPTS = 20;
const LINES_A_COMMIT = 64;
const CRITICAL = new Set(["scram.activated", "scram.executed", "scram.reset"]);
const WARNING = new Set([
  "order.refused",
  "engine.lost",
  "deadman.lost",
  "discovery.found",
  "lease.ended",
  "self_proof.failed",
]);

/** What the journal of a node is taken from, and where to. */
interface Anchored {
  readonly folder: Pick<DataFolder, "scram">;
  readonly store: AnchorStore;
  readonly node: Pick<SovereignNode, "stream">;
  /** As far as it was read; how long it is, is of no matter for what is new. */
  readonly journal: Journal;
}

type AnchorStore = Pick<Store, "streamHead" | "readStream" | "commit" | "shared" | "announce">;

/**
 * Take what the sentinel recorded into the ledger, and tell the other nodes.
 * @param announce tell them although nothing was new: an earlier attempt may have got that far, and
 *   not to telling
 */
export async function anchorInstallation(anchored: Anchored, announce = false): Promise<void> {
  const { folder, store, node, journal } = anchored;
  const envelopes = new EnvelopeStore(join(folder.scram, "envelopes"));
  const taken = await anchorJournal(store, node.stream, journal, envelopes);
  if ((taken > 0 || announce) && store.shared) await store.announce();
}

/**
 * Take the sentinel's journal into the ledger, one entry a line, in order: the stream's count is
 * the number of lines taken. Whatever happened while the database was down is caught up here.
 *
 * @param stream the node's
 * @returns how many lines were taken
 * @throws ERR_STREAM_CONFLICT when other processes wrote first each time
 * @throws ERR_NODE_CLONED when the stream holds lines that this journal never had
 */
async function anchorJournal(
  store: AnchorStore,
  stream: string,
  journal: Journal,
  envelopes: EnvelopeStore,
  attempt = 1,
): Promise<number> {
  let head = await store.streamHead(INSTALLATION_LOG, stream);
  // Read after the stream: what stands there stood in the journal first.
  journal.refresh();
  await refuseOthers(store, stream, head.count, journal);
  const before = head.count;
  for (let at = before; at < journal.lines.length; at += LINES_A_COMMIT) {
    const lines = journal.lines.slice(at, at + LINES_A_COMMIT);
    const expectedHead = head;
    const entries = lines.map((line) => {
      const entry = entryOf(head, stream, line);
      head = entry.head;
      return entry;
    });
    const carried = new Map(lines.flatMap((line) => envelopesOf(line, envelopes)));
    const verdict = await store.commit({
      log: INSTALLATION_LOG,
      stream,
      expectedHead,
      entries: entries.map(({ bytes, hash }) => ({ bytes, hash })),
      envelopes: [...carried].map(([digest, one]) => ({ digest, bytes: canonicalBytes(one) })),
    });
    if (verdict.status === "refused") {
      if (attempt > ATTEMPTS) throw conflict();
      // Another process takes the same lines at the same time: go on where it is.
      return anchorJournal(store, stream, journal, envelopes, attempt + 1);
    }
  }
  return head.count - before;
}

function entryOf(head: StreamHead, stream: string, line: JournalLine): ChainedEntry {
  const { sequence, previous_hash } = line;
  const entryWith = (data: JsonObject): ChainedEntry =>
    createEntry(head, {
      stream,
      tenantId: INSTALLATION_LOG,
      runId: null,
      timestamp: line.at,
      eventType: line.event,
      severity: severityOf(line),
      data: { ...data, journal: { sequence, previous_hash } },
    });
  try {
    return entryWith(line.data);
  } catch (error) {
    if (!isSovereignError(error, "ERR_ENTRY_TOO_LARGE")) throw error;
    return entryWith(essentialsOf(line.data));
  }
}

/** A line that no entry holds is in the journal; its order stops the other nodes all the same. */
function essentialsOf(data: JsonObject): JsonObject {
  const { event = {}, envelopes = {} } = data as { event?: JsonObject; envelopes?: JsonObject };
  const { event_id = null, invariants_passed = [] } = event;
  return { line_digest: digestOf(data), event: { event_id, invariants_passed }, envelopes };
}

const anchored = z.looseObject({
  journal: z.strictObject({ sequence: fields.count, previous_hash: fields.digest }),
});

/** A copy of a data folder goes on by itself, and would be taken for the node that it was. */
async function refuseOthers(
  store: AnchorStore,
  stream: string,
  count: number,
  { lines, path }: Journal,
): Promise<void> {
  if (count === 0) return;
  const line = lines[count - 1];
  for await (const { bytes } of store.readStream(INSTALLATION_LOG, stream, count - 1)) {
    const { data, timestamp } = parseFormat(
      formats.ledgerEntry,
      parseCanonicalJson(bytes),
      "journal entry",
    );
    const { journal } = parseFormat(anchored, data, "journal entry");
    const same = line?.previous_hash === journal.previous_hash && line.at === timestamp;
    if (same) return;
    break;
  }
  const text = `The ledger holds ${count} lines of this node's journal, ${path} has ${lines.length}, and they are not the same. Another data folder is a copy of this one, or this one was set back. Look into it. If only the journal was lost or damaged, type: sovereign scram repair. Else remove node.json, and this folder joins as a new node.`;
  throw new SovereignError("ERR_NODE_CLONED", text, { stream });
}

/** When what failed is tried again by itself: the time doubles, until the signal ends it. */
export interface AnchorPatience {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly signal: AbortSignal;
}

/**
 * Takes the journal into the ledger while work goes on: one attempt at a time, and again when what
 * could not be taken may be.
 */
export class AnchorDuty {
  readonly #anchor: () => Promise<unknown>;
  readonly #patience: AnchorPatience | null;
  readonly #onFailed: (error: unknown) => void;
  #wanted = false;
  #working: Promise<void> | null = null;

  /**
   * @param onFailed told why an attempt failed, each time
   * @param patience null where somebody calls {@link AnchorDuty.retry}
   */
  constructor(
    anchor: () => Promise<unknown>,
    onFailed: (error: unknown) => void,
    patience: AnchorPatience | null = null,
  ) {
    this.#anchor = anchor;
    this.#onFailed = onFailed;
    this.#patience = patience;
  }

  /** There are new lines. */
  want(): void {
    this.#wanted = true;
    this.retry();
  }

  /** The database is there: what could not be taken is tried again. */
  retry(): void {
    if (!this.#wanted || this.#working !== null) return;
    this.#working = this.#work().finally(() => {
      this.#working = null;
    });
  }

  /** Until what is under way has ended. */
  async settled(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    const patience = this.#patience;
    let waitMs = patience?.firstMs ?? 0;
    while (this.#wanted && patience?.signal.aborted !== true) {
      this.#wanted = false;
      try {
        await this.#anchor();
        waitMs = patience?.firstMs ?? 0;
      } catch (error) {
        // The lines stay in the journal: the next try, or the next opening, takes them.
        this.#wanted = true;
        this.#onFailed(error);
        if (patience === null) return;
        await sleep(waitMs, null, { signal: patience.signal }).catch(() => null);
        waitMs = Math.min(waitMs * 2, patience.maxMs);
      }
    }
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

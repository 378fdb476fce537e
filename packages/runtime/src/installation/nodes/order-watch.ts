import {
  formats,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type LedgerEntry,
  parseCanonicalJson,
  parseFormat,
  parseStrictJson,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import { type Clock, rest } from "../../system/index.ts";
import type { StoredEntry } from "../../ledger/index.ts";
import type { ScramLink } from "../../scram/index.ts";
import { FEED_PAGE, type LogFeed } from "../../store/index.ts";
import type { SovereignNode } from "./membership.ts";
import type { OwnStream } from "./own-stream.ts";

/** How often the log is read where no lease asks for more. */
const POLL_MS = 500;
/** Of a lease: four chances to renew it. */
const POLLS_OF_A_LEASE = 4;
const RETRY_MS = 50;
const NODE_STREAM = /^scram\/(nod_[a-z0-9]{20})$/;

/** The last entry of the installation's log that was dealt with. */
export interface Place {
  readonly index: number;
  readonly hash: string;
}

/** The installation's log as it grows; see the store's. */
export type Feed = Pick<LogFeed, "read" | "readEnvelope" | "close">;

export interface NodeWatchOptions {
  readonly node: SovereignNode;
  readonly link: Pick<ScramLink, "request">;
  readonly clock: Clock;
  readonly leaseMs: number | null;
  /** Open the feed of the installation's log. */
  readonly feed: (onNews: () => void) => Feed;
  /** Where this node has read to, as an earlier process left it; null where none did. */
  readonly place: Place | null;
  readonly keep: (place: Place) => void;
  /** The key log has grown. */
  readonly onKeys: () => Promise<void>;
  /** All of the log was read, so the database is there. */
  readonly onRead: () => void;
  /** Why nothing may run here, for who is asked without a database. */
  readonly onRefused: (error: unknown) => void;
  /** This node's own stream, which nobody else writes, and which is to hold its whole journal. */
  readonly own: Pick<OwnStream, "wrote" | "secure">;
}

/**
 * One control's watch over the other nodes of a shared database: reads the installation's log as it
 * grows, hands each order that another node carried out to this node's sentinel, and renews the lease
 * under which work runs here.
 */
export class NodeWatch {
  readonly #options: NodeWatchOptions;
  readonly #feed: Feed;
  readonly #ended = new AbortController();
  #place: Place;
  #wake: () => void = () => undefined;
  #living: Promise<void> = Promise.resolve();
  #news = false;
  #failure: unknown = null;
  /** The log was seen to lack what it held before, and that was not recorded yet. */
  #setBack = false;
  /** An entry of this node's stream that it did not write. */
  #foreign: number | null = null;

  constructor(options: NodeWatchOptions) {
    this.#options = options;
    this.#place = options.place ?? options.node.joined;
    this.#feed = options.feed(() => {
      this.#news = true;
      this.#wake();
    });
  }

  /** Why the log could not be read when that was last tried; null when it was read. */
  get failure(): unknown {
    return this.#failure;
  }

  /**
   * Catch up with what the other nodes did, then go on until closed. What was ordered while this node
   * was off is in force when this resolves.
   *
   * @throws ERR_STORE_UNAVAILABLE, ERR_LEDGER_CORRUPT, ERR_NODE_UNKNOWN
   */
  async start(): Promise<void> {
    await this.#round();
    this.#living = this.#live();
  }

  async close(): Promise<void> {
    this.#ended.abort();
    this.#wake();
    // A read that is under way ends with its connection.
    await this.#feed.close();
    await this.#living;
  }

  async #live(): Promise<void> {
    const { leaseMs } = this.#options;
    const pollMs = leaseMs === null ? POLL_MS : Math.min(POLL_MS, leaseMs / POLLS_OF_A_LEASE);
    const { signal } = this.#ended;
    let waitMs = pollMs;
    for (;;) {
      await this.#wait(waitMs);
      if (signal.aborted) return;
      try {
        await this.#round();
        waitMs = pollMs;
      } catch (error) {
        // The lease says what this means: work goes on until it ends, and no longer.
        this.#failure = error;
        this.#options.onRefused(error);
        waitMs = isSovereignError(error, "ERR_STORE_UNAVAILABLE") ? RETRY_MS : pollMs;
      }
    }
  }

  /** Until there is news, or it is time to look. */
  async #wait(ms: number): Promise<void> {
    const over = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (!this.#news) {
      await Promise.race([rest(ms, over.signal), woken]);
    }
    over.abort();
    this.#news = false;
  }

  /** Read to the end of the log. Only then is the lease renewed, from when that reading began. */
  async #round(): Promise<void> {
    const { clock, link, onRead, own } = this.#options;
    for (;;) {
      const readAt = clock.monotonicMs();
      const page = await this.#read();
      await this.#takeAll(page);
      if (page.length < FEED_PAGE - 1) {
        // Until what this node recorded stands in the log (again), the others cannot hear of it, and it
        // counts as cut off itself.
        this.#refuseForeign();
        await own.secure(this.#setBack);
        this.#setBack = false;
        await link.request({ t: "lease", read_at: readAt });
        if (this.#failure !== null) this.#options.onRefused(null);
        this.#failure = null;
        onRead();
        return;
      }
    }
  }

  /** What follows the last entry that was dealt with, which must be there still. */
  async #read(): Promise<StoredEntry[]> {
    const { node } = this.#options;
    const [last, ...page] = await this.#feed.read(this.#place.index);
    if (last?.hash === this.#place.hash) return this.#checked(page);
    this.#setBack = true;
    if (this.#place.hash === node.joined.hash) {
      const text = `The installation's log no longer holds the entry with which node ${node.id} joined: the database was set back, or is another one. Nothing runs on it.`;
      throw new SovereignError("ERR_NODE_UNKNOWN", text, { node: node.id });
    }
    // The database was set back. What is known already is known to the sentinel, too.
    this.#place = node.joined;
    return this.#read();
  }

  #checked(page: StoredEntry[]): StoredEntry[] {
    for (const [at, { index, hash, bytes }] of page.entries()) {
      const follows = index === this.#place.index + 1 + at;
      if (follows && sha256Hex(bytes) === hash) continue;
      const text = `Entry ${this.#place.index + 1 + at} of the installation's log is missing or changed. An order may have stood there: nothing runs.`;
      throw new SovereignError("ERR_LEDGER_CORRUPT", text, { index: this.#place.index + 1 + at });
    }
    return page;
  }

  async #takeAll(page: readonly StoredEntry[]): Promise<void> {
    const entries = page.map((stored) => ({ ...stored, entry: readEntry(stored) }));
    // Keys first: an order may be signed by one that is enrolled since.
    if (entries.some(({ entry }) => entry?.stream === "keys")) await this.#options.onKeys();
    for (const one of entries) await this.#take(one);
    if (page.length > 0) this.#options.keep(this.#place);
  }

  async #take({ index, hash, entry }: StoredEntry & { entry: LedgerEntry | null }): Promise<void> {
    if (entry !== null) await this.#obey(entry, index);
    this.#place = { index, hash };
  }

  async #obey(entry: LedgerEntry, index: number): Promise<void> {
    const { node, own } = this.#options;
    const from = NODE_STREAM.exec(entry.stream)?.[1];
    const ours = from === node.id && own.wrote(entry);
    // A copy of this data folder writes as this node: what it was told to stop is stopped here, too.
    if (from === node.id && !ours) this.#foreign = index;
    const digest = orderOf(entry);
    if (from !== undefined && !ours && digest !== null) {
      await this.#handOver(digest, entry.timestamp, { node_id: from, index });
    }
  }

  #refuseForeign(): void {
    if (this.#foreign === null) return;
    const { node } = this.#options;
    const text = `Entry ${this.#foreign} of the installation's log is of this node's kill switch (${node.id}), and this data folder did not write it: another folder is a copy of this one. Nothing runs here. End what uses the copy; then remove node.json here, and this folder joins as a new node.`;
    throw new SovereignError("ERR_NODE_CLONED", text, { index: this.#foreign });
  }

  async #handOver(
    digest: string,
    at: string,
    origin: { node_id: string; index: number },
  ): Promise<void> {
    const bytes = await this.#feed.readEnvelope(digest);
    if (bytes === null) {
      const text = `The order that entry ${origin.index} of the installation's log names is missing: nothing runs.`;
      throw new SovereignError("ERR_LEDGER_CORRUPT", text, { index: origin.index });
    }
    const envelope: JsonValue = readable(bytes);
    await this.#options.link.request({ t: "peer", envelope, at, origin });
  }
}

/** Null for what a repair set aside because it is no entry. What is one counts, set aside or not. */
function readEntry({ bytes, aside }: StoredEntry): LedgerEntry | null {
  try {
    return parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "ledger entry");
  } catch (error) {
    if (aside === true) return null;
    throw error;
  }
}

/** The digest of the order that an entry says was carried out with two keys; null for another. */
function orderOf({ event_type, data }: LedgerEntry): string | null {
  if (event_type !== "scram.executed") return null;
  const { event, envelopes } = data as { event?: JsonObject; envelopes?: JsonObject };
  const passed = event?.["invariants_passed"];
  const authorized = Array.isArray(passed) && passed.includes("INV-SCRAM-002");
  const order = envelopes?.["order"];
  return authorized && typeof order === "string" ? order : null;
}

/** What cannot be read is handed over as text, so that the refusal is recorded. */
function readable(bytes: Uint8Array): JsonValue {
  try {
    return parseStrictJson(bytes);
  } catch {
    return Buffer.from(bytes).toString("base64").slice(0, 1000);
  }
}

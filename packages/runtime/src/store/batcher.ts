import { parseStrictJson, SovereignError, utf8Encode } from "@sovereign/core";
import type { CommitItem, CommitVerdict } from "../ledger/index.ts";
import { codeOf, HELD } from "./database.ts";

/** How many items one transaction takes at most, and how many bytes of entries. */
const BATCH_ITEMS_MAX = 1024;
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
/** Items that may wait; beyond it callers are told to wait themselves. */
const QUEUE_MAX = 100_000;
/** How many batches may be on their way: one at the server, one behind it. */
const ON_THEIR_WAY_MAX = 2;
/**
 * A smaller batch than this does not set out behind another: what a transaction costs whatever is in
 * it (the lock, the flush, the wake-ups) is then paid twice, for few entries. Several processes that
 * write to a log keep the server busy without it.
 */
const SHARE_MIN = 256;

/** How long an item waits for a log that another connection holds, before its caller is told. */
const HELD_MS_MAX = 30_000;
/** How many held logs are tried at a time: each try keeps a connection. */
const HELD_TRIES_MAX = 2;

interface Waiting {
  readonly item: CommitItem;
  /** When it came. */
  readonly since: number;
  /** Its stream and its nonces: what no two items on their way may share. */
  readonly names: readonly string[];
  readonly resolve: (verdict: CommitVerdict) => void;
  readonly reject: (error: unknown) => void;
}

/** Commits items together; answers one verdict for each, in order. */
export type CommitBatch = (items: readonly CommitItem[]) => Promise<readonly CommitVerdict[]>;

/**
 * Group commit: while batches are on their way to the disk, the next one gathers. Nobody waits for
 * a timer, and the more there is to do, the larger the batches.
 *
 * Two batches may be on their way, so that one is made, and answers are given, while the server
 * works on the other. They are independent: no two items on their way share a stream or a nonce.
 */
export class Batcher {
  readonly #commitBatch: CommitBatch;
  readonly #shareMin: number;
  #queue: Waiting[] = [];
  #scheduled = false;
  #onTheirWay = 0;
  /** The streams and nonces of all items on their way. */
  readonly #busy = new Set<string>();
  /** Logs that another connection holds, and their items: they go alone, and keep nobody waiting. */
  readonly #held = new Map<string, Waiting[]>();
  readonly #trying = new Set<string>();

  /** @param shareMin the fewest items that set out while another batch is on its way */
  constructor(commitBatch: CommitBatch, shareMin = SHARE_MIN) {
    this.#commitBatch = commitBatch;
    this.#shareMin = shareMin;
  }

  commit(item: CommitItem): Promise<CommitVerdict> {
    if (this.#queue.length >= QUEUE_MAX) {
      const text = `${QUEUE_MAX} commits are waiting already; try again later.`;
      return Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", text));
    }
    return new Promise((resolve, reject) => {
      const since = performance.now();
      this.#queue.push({ item, since, names: namesOf(item), resolve, reject });
      this.#schedule();
    });
  }

  /** What callers add in this turn of the event loop, however many promises later, still gets in. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      process.nextTick(() => {
        this.#scheduled = false;
        this.#flush();
      });
    });
  }

  #flush(): void {
    for (;;) {
      const most = this.#share();
      const batch = most === 0 ? [] : this.#take(most);
      if (batch.length === 0) break;
      void this.#dispatch(batch);
    }
    this.#tryHeld();
  }

  /** How many items the next batch may have; none while it is better to let it gather. */
  #share(): number {
    const waiting = this.#queue.length;
    if (this.#onTheirWay === 0) {
      return waiting < 2 * this.#shareMin ? waiting : Math.ceil(waiting / 2);
    }
    return this.#onTheirWay < ON_THEIR_WAY_MAX && waiting >= this.#shareMin ? waiting : 0;
  }

  async #dispatch(batch: readonly Waiting[]): Promise<void> {
    this.#onTheirWay += 1;
    await this.#send(batch);
    this.#onTheirWay -= 1;
    this.#schedule();
  }

  /** What an item kept is free again. */
  #release({ names }: Waiting): void {
    for (const name of names) this.#busy.delete(name);
  }

  #rejectAll(batch: readonly Waiting[], error: unknown): void {
    for (const waiting of batch) {
      this.#release(waiting);
      waiting.reject(error);
    }
  }

  /** One error spoils a transaction, so a batch that fails is split until the bad item is alone. */
  async #send(batch: readonly Waiting[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      const verdicts = await this.#commitBatch(batch.map(({ item }) => item));
      for (const [index, waiting] of batch.entries()) {
        const verdict = verdicts[index];
        this.#release(waiting);
        if (verdict === undefined) waiting.reject(new Error("a commit got no verdict"));
        else waiting.resolve(verdict);
      }
    } catch (error) {
      if (codeOf(error) === HELD) {
        await this.#send(this.#holdBack(batch, error));
        return;
      }
      if (batch.length === 1 || error instanceof SovereignError) {
        this.#rejectAll(batch, error);
        return;
      }
      const half = Math.ceil(batch.length / 2);
      await this.#send(batch.slice(0, half));
      await this.#send(batch.slice(half));
    }
  }

  /** Sets the items of the logs that are held aside. @returns the others */
  #holdBack(batch: readonly Waiting[], error: unknown): Waiting[] {
    const logs = batch.map(({ item }) => item.log);
    const named = heldLogs(error);
    const held = new Set(logs.some((log) => named.has(log)) ? named : logs);
    for (const waiting of batch) {
      const { log } = waiting.item;
      if (held.has(log)) this.#held.set(log, [...(this.#held.get(log) ?? []), waiting]);
    }
    return batch.filter(({ item }) => !held.has(item.log));
  }

  /** Each held log by itself, in turns. */
  #tryHeld(): void {
    for (const [log, lane] of this.#held) {
      if (this.#trying.size >= HELD_TRIES_MAX) return;
      if (lane.length === 0 || this.#trying.has(log)) continue;
      this.#trying.add(log);
      void this.#tryLog(log, lane.splice(0, BATCH_ITEMS_MAX)).finally(() => {
        this.#trying.delete(log);
        this.#schedule();
      });
    }
  }

  async #tryLog(log: string, batch: readonly Waiting[]): Promise<void> {
    // What is still held comes back into the lane, which stays while it is tried.
    await this.#send(batch);
    const lane = this.#held.get(log) ?? [];
    this.#held.delete(log);
    if (lane.length === 0) return;
    const now = performance.now();
    const late = lane.filter(({ since }) => now - since > HELD_MS_MAX);
    this.#rejectAll(late, heldError(log, HELD_MS_MAX));
    // It goes to the end of the turns; with nothing left, the next item is the one that tries.
    this.#held.set(
      log,
      lane.filter((waiting) => !late.includes(waiting)),
    );
  }

  /**
   * The next batch, of `most` items at most. What shares a stream or a nonce with an item on its
   * way, or before it in the queue, stays: a stream's order is kept.
   */
  #take(most: number): Waiting[] {
    const taken: Waiting[] = [];
    const left: Waiting[] = [];
    const deferred = new Set<string>();
    let bytes = 0;
    let at = 0;
    for (; at < this.#queue.length; at++) {
      if (taken.length >= Math.min(most, BATCH_ITEMS_MAX) || bytes >= BATCH_BYTES_MAX) break;
      const waiting = this.#queue[at] as Waiting;
      const { names, item } = waiting;
      if (names.some((name) => this.#busy.has(name) || deferred.has(name))) {
        left.push(waiting);
        for (const name of names) deferred.add(name);
        continue;
      }
      for (const name of names) this.#busy.add(name);
      const lane = this.#held.get(item.log);
      if (lane !== undefined) {
        lane.push(waiting);
        continue;
      }
      bytes += item.entries.reduce((total, entry) => total + entry.bytes.length, 0);
      taken.push(waiting);
    }
    this.#queue = left.length === 0 ? this.#queue.slice(at) : left.concat(this.#queue.slice(at));
    return taken;
  }
}

/** The logs that a refusal names, if it names any. */
function heldLogs(error: unknown): ReadonlySet<string> {
  const { detail } = error as { detail?: unknown };
  const logs = typeof detail === "string" ? parseStrictJson(utf8Encode(detail)) : [];
  return new Set(Array.isArray(logs) ? logs.map(String) : []);
}

/** Somebody stays in a transaction that holds the lock of a log. */
export function heldError(log: string, ms: number): SovereignError {
  const text = `Another connection to the database has held the log ${log} for ${ms / 1000} s: it stays in a transaction. Nothing was acknowledged; end that session (pg_stat_activity shows it), then try again.`;
  return new SovereignError("ERR_STORE_UNAVAILABLE", text, { log });
}

function namesOf(item: CommitItem): string[] {
  const stream = `${item.log}/${item.stream}`;
  if (item.nonces === undefined || item.nonces.length === 0) return [stream];
  return [stream, ...item.nonces.map(({ nonce }) => `${item.log}#${nonce}`)];
}

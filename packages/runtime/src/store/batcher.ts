import { SovereignError } from "@sovereign/core";
import type { CommitItem, CommitVerdict } from "../ledger/index.ts";

/** How many items one transaction takes at most, and how many bytes of entries. */
const BATCH_ITEMS_MAX = 1024;
const BATCH_BYTES_MAX = 8 * 1024 * 1024;
/** Items that may wait; beyond it callers are told to wait themselves. */
const QUEUE_MAX = 100_000;

interface Waiting {
  readonly item: CommitItem;
  readonly resolve: (verdict: CommitVerdict) => void;
  readonly reject: (error: unknown) => void;
}

/** Commits items together; answers one verdict for each, in order. */
export type CommitBatch = (items: readonly CommitItem[]) => Promise<readonly CommitVerdict[]>;

/**
 * Group commit: while one batch is on its way to the disk, the next one gathers. Nobody waits for
 * a timer, and the more there is to do, the larger the batches.
 */
export class Batcher {
  readonly #commitBatch: CommitBatch;
  #queue: Waiting[] = [];
  #flushing = false;

  constructor(commitBatch: CommitBatch) {
    this.#commitBatch = commitBatch;
  }

  commit(item: CommitItem): Promise<CommitVerdict> {
    if (this.#queue.length >= QUEUE_MAX) {
      const text = `${QUEUE_MAX} commits are waiting already; try again later.`;
      return Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", text));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ item, resolve, reject });
      if (!this.#flushing) void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    this.#flushing = true;
    // What callers add in this turn of the event loop still gets into the first batch.
    await Promise.resolve();
    while (this.#queue.length > 0) await this.#send(this.#take());
    this.#flushing = false;
  }

  /** One error spoils a transaction, so a batch that fails is split until the bad item is alone. */
  async #send(batch: readonly Waiting[]): Promise<void> {
    try {
      const verdicts = await this.#commitBatch(batch.map(({ item }) => item));
      for (const [index, { resolve, reject }] of batch.entries()) {
        const verdict = verdicts[index];
        if (verdict === undefined) reject(new Error("a commit got no verdict"));
        else resolve(verdict);
      }
    } catch (error) {
      if (batch.length === 1 || error instanceof SovereignError) {
        for (const { reject } of batch) reject(error);
        return;
      }
      const half = Math.ceil(batch.length / 2);
      await this.#send(batch.slice(0, half));
      await this.#send(batch.slice(half));
    }
  }

  /** No two items of a batch touch the same stream or nonce; the later one goes with the next. */
  #take(): Waiting[] {
    const taken: Waiting[] = [];
    const left: Waiting[] = [];
    const used = new Set<string>();
    let bytes = 0;
    for (const waiting of this.#queue) {
      const { item } = waiting;
      const names = [
        `${item.log}/${item.stream}`,
        ...(item.nonces ?? []).map(({ nonce }) => nonce),
      ];
      const fits =
        taken.length < BATCH_ITEMS_MAX && (bytes < BATCH_BYTES_MAX || taken.length === 0);
      if (!fits || names.some((name) => used.has(name))) {
        left.push(waiting);
        // The stream's order is kept: what comes after a deferred item is deferred too.
        names.forEach((name) => used.add(name));
        continue;
      }
      names.forEach((name) => used.add(name));
      bytes += item.entries.reduce((total, entry) => total + entry.bytes.length, 0);
      taken.push(waiting);
    }
    this.#queue = left;
    return taken;
  }
}

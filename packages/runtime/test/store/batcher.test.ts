import { SovereignError } from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CommitItem, CommitVerdict } from "../../src/ledger/index.ts";
import { Batcher } from "../../src/store/batcher.ts";
import { itemFor, newStream } from "../support/entries.ts";

/** A server that answers when it is told to, and remembers what was on its way together. */
class HeldServer {
  readonly batches: (readonly CommitItem[])[] = [];
  readonly #open = new Map<readonly CommitItem[], (end: Error | null) => void>();

  readonly commit = (items: readonly CommitItem[]): Promise<readonly CommitVerdict[]> => {
    this.batches.push(items);
    return new Promise((resolve, reject) => {
      this.#open.set(items, (end) => {
        if (end === null) resolve(items.map(verdictOn));
        else reject(end);
      });
    });
  };

  get onTheirWay(): (readonly CommitItem[])[] {
    return [...this.#open.keys()];
  }

  /** End the n-th of the batches on their way, and let what follows from it happen. */
  async end(at = 0, error: Error | null = null): Promise<void> {
    const batch = this.onTheirWay[at];
    if (batch === undefined) throw new Error("no such batch");
    this.#open.get(batch)?.(error);
    this.#open.delete(batch);
    await turn();
  }

  async endAll(): Promise<void> {
    while (this.onTheirWay.length > 0) await this.end();
  }
}

/** Each item's own verdict: told by its expected count. */
const verdictOn = (item: CommitItem): CommitVerdict => ({
  status: "committed",
  firstIndex: item.expectedHead.count,
});
const turn = (): Promise<void> => new Promise((next) => setImmediate(next));
const itemsOf = (count: number): CommitItem[] =>
  Array.from({ length: count }, () => itemFor(newStream()));
const sizes = (batches: readonly (readonly CommitItem[])[]): number[] =>
  batches.map((batch) => batch.length);

function begin(shareMin = 64): { server: HeldServer; batcher: Batcher } {
  const server = new HeldServer();
  return { server, batcher: new Batcher(server.commit, shareMin) };
}

describe("group commit", () => {
  it("gathers what is added in one turn, however many promises later", async () => {
    const { server, batcher } = begin();
    const ends = itemsOf(8).map(async (item, depth) => {
      for (let step = 0; step < depth; step++) await Promise.resolve();
      return batcher.commit(item);
    });
    await turn();
    expect(sizes(server.batches)).toEqual([8]);
    await server.endAll();
    expect(await Promise.all(ends)).toHaveLength(8);
  });

  it("lets a few gather while a batch is on its way", async () => {
    const { server, batcher } = begin();
    const ends = [batcher.commit(itemFor(newStream()))];
    await turn();
    for (const item of itemsOf(5)) {
      ends.push(batcher.commit(item));
      await turn();
    }
    expect(sizes(server.onTheirWay)).toEqual([1]);
    await server.end();
    expect(sizes(server.onTheirWay)).toEqual([5]);
    await server.endAll();
    await Promise.all(ends);
  });

  it("sends many in two batches at once, and no third", async () => {
    const { server, batcher } = begin();
    const ends = itemsOf(200).map((item) => batcher.commit(item));
    await turn();
    expect(sizes(server.onTheirWay)).toEqual([100, 100]);
    ends.push(...itemsOf(70).map((item) => batcher.commit(item)));
    await turn();
    expect(sizes(server.onTheirWay)).toEqual([100, 100]);
    // It does not matter which is answered first.
    await server.end(1);
    expect(sizes(server.onTheirWay)).toEqual([100, 70]);
    await server.endAll();
    await Promise.all(ends);
  });

  it("alone harms a batch that fails, and finds the item that is to blame", async () => {
    const { server, batcher } = begin();
    const items = itemsOf(160);
    const bad = items[7];
    const ends = items.map((item) =>
      batcher.commit(item).then(
        (verdict) => verdict.status,
        (error: unknown) => (error as Error).message,
      ),
    );
    await turn();
    while (server.onTheirWay.length > 0) {
      const blamed = server.onTheirWay[0]?.includes(bad as CommitItem) === true;
      await server.end(0, blamed ? new Error("bad datum") : null);
    }
    expect(await Promise.all(ends)).toEqual(
      items.map((item) => (item === bad ? "bad datum" : "committed")),
    );
  });

  it("tells a batch alone that the database is gone, and goes on", async () => {
    const { server, batcher } = begin();
    const items = itemsOf(160);
    const ends = items.map((item) =>
      batcher.commit(item).then(
        (verdict) => verdict.status,
        (error: unknown) => (error as SovereignError).code,
      ),
    );
    await turn();
    await server.end(0, new SovereignError("ERR_STORE_UNAVAILABLE", "gone"));
    await server.endAll();
    const first = Array.from({ length: 80 }, () => "ERR_STORE_UNAVAILABLE");
    expect(await Promise.all(ends)).toEqual([
      ...first,
      ...Array.from({ length: 80 }, () => "committed"),
    ]);
    const after = batcher.commit(itemFor(newStream()));
    await turn();
    await server.endAll();
    expect(await after).toMatchObject({ status: "committed" });
  });

  it("refuses to hold more than it can", async () => {
    const { server, batcher } = begin();
    const item = itemFor(newStream());
    const ends = Array.from({ length: 100_000 }, () => batcher.commit(item));
    await expect(batcher.commit(item)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
    await turn();
    expect(sizes(server.onTheirWay)).toEqual([1]);
    expect(ends).toHaveLength(100_000);
  }, 60_000);

  it("keeps every stream's order, and what shares a stream or a nonce apart", async () => {
    const item = fc.record({
      stream: fc.nat(100),
      nonce: fc.option(fc.nat(40), { nil: null, freq: 4 }),
    });
    const step = fc.record({
      items: fc.array(item, { maxLength: 120, size: "max" }),
      ends: fc.array(fc.nat(1), { maxLength: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 6, size: "max" }), async (steps) => {
        const { server, batcher } = begin(8);
        const counts = new Map<string, number>();
        const ends: Promise<unknown>[] = [];
        const expected: number[] = [];
        const look = (): void => {
          const names = server.onTheirWay.flat().flatMap(namesOf);
          expect(new Set(names).size).toBe(names.length);
          expect(server.onTheirWay.length).toBeLessThanOrEqual(2);
        };
        for (const { items, ends: answers } of steps) {
          for (const { stream, nonce } of items) {
            const made = itemAt(`stream ${stream}`, nonce, counts);
            expected.push(made.expectedHead.count);
            ends.push(batcher.commit(made));
          }
          await turn();
          look();
          for (const at of answers) {
            if (server.onTheirWay.length > at) await server.end(at);
            look();
          }
        }
        await server.endAll();
        const verdicts = (await Promise.all(ends)) as { firstIndex: number }[];
        expect(verdicts.map((verdict) => verdict.firstIndex)).toEqual(expected);
        const last = new Map<string, number>();
        for (const { stream, expectedHead } of server.batches.flat()) {
          expect(expectedHead.count).toBe(last.get(stream) ?? 0);
          last.set(stream, expectedHead.count + 1);
        }
      }),
      { numRuns: 30 },
    );
  }, 60_000);
});

function itemAt(stream: string, nonce: number | null, counts: Map<string, number>): CommitItem {
  const count = counts.get(stream) ?? 0;
  counts.set(stream, count + 1);
  const made = { ...itemFor(stream), expectedHead: { count, hash: "0".repeat(64) } };
  if (nonce === null) return made;
  return { ...made, nonces: [{ nonce: `nonce ${nonce}`, expiresAt: "2026-01-01T00:00:00.000Z" }] };
}

function namesOf({ stream, nonces }: CommitItem): string[] {
  return [stream, ...(nonces ?? []).map(({ nonce }) => nonce)];
}

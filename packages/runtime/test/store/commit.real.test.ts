import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sha256Hex } from "@sovereign/core";
import fc from "fast-check";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CommitItem, CommitVerdict } from "../../src/ledger/index.ts";
import { bigintArray, bytesArray, intArray, textArray } from "../../src/store/binary-arrays.ts";
import { ownerConfig, startEmbedded } from "../../src/store/embedded.ts";
import { Store } from "../../src/store/index.ts";
import { claimsBy, commitBy } from "../support/claims.ts";
import { itemFor, keyItem, newStream } from "../support/entries.ts";

const home = mkdtempSync(join(tmpdir(), "sov-commit-"));
const options = { folder: join(home, "pg"), headsFolder: join(home, "heads"), databaseUrl: null };
let stores: Store[];
let owner: pg.Client;
beforeAll(async () => {
  // Each has connections of its own, as processes have.
  stores = await Promise.all([1, 2, 3].map(() => Store.open(options)));
  owner = new pg.Client(ownerConfig(await startEmbedded(options.folder)));
  await owner.connect();
});
afterAll(async () => {
  await owner.end();
  for (const store of stores) await store.close();
  rmSync(home, { recursive: true, force: true });
});

const nameOf = (verdict: CommitVerdict): string =>
  verdict.status === "committed" ? "committed" : verdict.reason;
const commitAll = (items: readonly CommitItem[]): Promise<CommitVerdict[]> =>
  Promise.all(items.map((item) => stores[0]!.commit(item)));
const stale = (item: CommitItem): CommitItem => ({
  ...item,
  expectedHead: { count: 3, hash: "3".repeat(64) },
});

/** The index, stream and hash of every entry of a log. */
async function logOf(log: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const { bytes, hash, index } of stores[0]!.readLog(log)) {
    expect(index).toBe(lines.length);
    expect(hash).toBe(sha256Hex(bytes));
    lines.push(hash);
  }
  return lines;
}

describe("a batch", () => {
  it("places what is committed without gaps, in several logs, whatever is refused", async () => {
    const logs = ["zeta", "alpha", "mid_a", "mid-b"];
    const items = Array.from({ length: 40 }, (_, at) => {
      const notes = ["first", "second", "third"].slice(0, 1 + (at % 3));
      const item = itemFor(newStream(), logs[at % 4], notes);
      return at % 5 === 2 ? stale(item) : item;
    });
    const verdicts = await commitAll(items);
    const expected = new Map<string, string[]>(logs.map((log) => [log, []]));
    for (const [at, item] of items.entries()) {
      const inLog = expected.get(item.log)!;
      if (at % 5 === 2) expect(verdicts[at]).toMatchObject({ reason: "stream_conflict" });
      else {
        expect(verdicts[at]).toEqual({ status: "committed", firstIndex: inLog.length });
        inLog.push(...item.entries.map((entry) => entry.hash));
      }
    }
    for (const [log, hashes] of expected) expect(await logOf(log)).toEqual(hashes);
  });

  it("refuses what the database can not hold, alone", async () => {
    const items = [
      itemFor(newStream(), "odd"),
      { ...itemFor(newStream(), "odd"), stream: "with\0nul" },
      { ...itemFor(newStream(), "odd"), entries: [] },
      itemFor(newStream(), "odd"),
    ];
    const verdicts = await commitAll(items);
    expect(verdicts.map(nameOf)).toEqual(["committed", "invalid", "invalid", "committed"]);
    expect(await logOf("odd")).toHaveLength(2);
  });

  it("lets one of several processes use a nonce, and tells the others", async () => {
    for (let round = 0; round < 10; round++) {
      const nonces = ["first", "second"].map((one) => ({
        nonce: `${one} ${round}`,
        expiresAt: "2026-01-01T00:00:00.000Z",
      }));
      // They are taken in opposite orders.
      const verdicts = await Promise.all(
        stores.map((store, at) =>
          store.commit({
            ...itemFor(newStream(), "nonces"),
            nonces: at === 1 ? nonces.toReversed() : nonces,
          }),
        ),
      );
      expect(verdicts.map(nameOf).sort()).toEqual(["committed", "nonce_used", "nonce_used"]);
    }
  });

  it("that was judged by the key log is durable before that grows, or not at all", async () => {
    const judged = { ...itemFor(newStream(), "judged"), keyEpoch: 0 };
    const other = { ...itemFor(newStream(), "judged"), keyEpoch: 0 };
    await stores[0]!.commit(itemFor(newStream(), "judged"));
    await owner.query("begin");
    await commitBy(owner, await claimsBy(owner), ["tenant/judged"], [judged]);
    let grown = false;
    const growing = stores[1]!.commit(keyItem()).then((verdict) => {
      grown = true;
      return nameOf(verdict);
    });
    await sleep(300);
    expect(grown).toBe(false);
    await owner.query("commit");
    expect(await growing).toBe("committed");
    expect(await stores[0]!.commit(other)).toMatchObject({ reason: "key_epoch" });
    expect(await stores[0]!.commit({ ...other, keyEpoch: 1 })).toMatchObject({
      status: "committed",
    });
  });

  it("of many logs never blocks another process's of the same logs", async () => {
    const logs = Array.from({ length: 12 }, (_, at) => `many-${at}`);
    const ends = await Promise.all(
      stores.flatMap((store, turn) =>
        Array.from({ length: 10 }, (_, round) =>
          logs.map((_, at) => logs[(at * 5 + turn * 7 + round) % 12] as string),
        ).flatMap((order) => order.map((log) => store.commit(itemFor(newStream(), log)))),
      ),
    );
    expect(ends.every((verdict) => verdict.status === "committed")).toBe(true);
    for (const log of logs) expect(await logOf(log)).toHaveLength(30);
  });
});

describe("arrays in binary form", () => {
  const echo = async (type: string, array: Buffer): Promise<unknown> => {
    const found = await owner.query<{ value: unknown }>(`select to_jsonb($1::${type}) as value`, [
      array,
    ]);
    return found.rows[0]?.value;
  };

  it("are read by the server as they were written", async () => {
    const text = fc.string({ unit: "grapheme" }).filter((one) => !one.includes("\0"));
    await fc.assert(
      fc.asyncProperty(
        fc.array(text),
        fc.array(fc.maxSafeNat()),
        fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
        fc.array(fc.uint8Array({ maxLength: 200 })),
        async (texts, bigints, ints, bytes) => {
          expect(await echo("text[]", textArray(texts))).toEqual(texts);
          expect(await echo("bigint[]", bigintArray(bigints))).toEqual(bigints);
          expect(await echo("int[]", intArray(ints))).toEqual(ints);
          const hex = bytes.map((one) => `\\x${Buffer.from(one).toString("hex")}`);
          expect(await echo("bytea[]", bytesArray(bytes))).toEqual(hex);
        },
      ),
      { numRuns: 60 },
    );
  });
});

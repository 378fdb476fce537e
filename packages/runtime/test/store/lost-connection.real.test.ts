import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CommitItem, CommitVerdict } from "../../src/ledger/index.ts";
import { ownerConfig, startEmbedded, stopEmbedded } from "../../src/store/embedded.ts";
import { Store } from "../../src/store/index.ts";
import { itemFor, newStream } from "../support/entries.ts";
import { type Fault, FaultyProxy } from "../support/faulty-proxy.ts";
import { testSigner } from "../support/keys.ts";

const home = mkdtempSync(join(tmpdir(), "sov-lost-"));
const folder = join(home, "pg");
const log = "lost";
let proxy: FaultyProxy;
let store: Store;

beforeAll(async () => {
  const target = await startEmbedded(folder);
  if (target.kind !== "embedded") throw new Error("expected an embedded server");
  proxy = await FaultyProxy.start(join(target.socket, ".s.PGSQL.5432"));
  const databaseUrl = `postgres://sovereign@127.0.0.1:${proxy.port}/postgres`;
  store = await Store.open({ folder, headsFolder: join(home, "l"), databaseUrl, answerMs: 3000 });
  // The log is there already: each fault meets the commit alone.
  await store.commit(itemFor(newStream(), log));
});
afterAll(async () => {
  await store.close();
  await proxy.close();
  const target = await startEmbedded(folder);
  await stopEmbedded(target, folder);
  rmSync(home, { recursive: true, force: true });
});

/** Three items in one batch; the second is refused where the batch gets through. */
async function commitThree(): Promise<{ streams: string[]; ends: string[] }> {
  const items = [newStream(), newStream(), newStream()].map((stream) => itemFor(stream, log));
  const stale = { ...items[1]!, expectedHead: { count: 1, hash: "1".repeat(64) } };
  const ends = await endsOf([items[0]!, stale, items[2]!]);
  return { streams: items.map((item) => item.stream), ends };
}

const endsOf = (items: readonly CommitItem[]): Promise<string[]> =>
  Promise.all(
    items.map((item) =>
      store.commit(item).then(nameOf, (error: unknown) => (error as { code: string }).code),
    ),
  );

const nameOf = (verdict: CommitVerdict): string =>
  verdict.status === "committed" ? "committed" : verdict.reason;

/** How many entries each stream has, as the log itself tells. */
async function countsOf(streams: readonly string[]): Promise<number[]> {
  const counts = streams.map(() => 0);
  for await (const { bytes } of store.readLog(log)) {
    const { stream } = JSON.parse(Buffer.from(bytes).toString()) as { stream: string };
    const at = streams.indexOf(stream);
    if (at >= 0) counts[at] = (counts[at] as number) + 1;
  }
  return counts;
}

const UNAVAILABLE = ["ERR_STORE_UNAVAILABLE", "ERR_STORE_UNAVAILABLE", "ERR_STORE_UNAVAILABLE"];
const THROUGH = ["committed", "stream_conflict", "committed"];
const TABLE: readonly { fault: Fault; expected: readonly string[] | null }[] = [
  { fault: "before it is sent", expected: UNAVAILABLE },
  { fault: "half sent", expected: UNAVAILABLE },
  // The server may be quicker than the look that follows, or not: both are right.
  { fault: "once it is sent", expected: null },
  { fault: "as it arrives late", expected: UNAVAILABLE },
  { fault: "before the answer", expected: THROUGH },
  { fault: "amid the answer", expected: THROUGH },
  { fault: "silence before it is sent", expected: UNAVAILABLE },
  { fault: "silence instead of the answer", expected: THROUGH },
];

describe("a commit whose connection is cut", () => {
  it.each(TABLE)("$fault: is there once and told so, or not there", async ({ fault, expected }) => {
    const before = proxy.done;
    proxy.arm(fault);
    const { streams, ends } = await commitThree();
    expect(proxy.done).toBe(before + 1);
    await proxy.deliver();
    if (expected !== null) expect(ends).toEqual(expected);
    else expect([UNAVAILABLE, THROUGH]).toContainEqual(ends);
    const there = ends.map((end) => (end === "committed" ? 1 : 0));
    expect(await countsOf(streams)).toEqual(there);
    // What follows goes on as if nothing had been.
    expect((await commitThree()).ends).toEqual(THROUGH);
  });

  it.each(TABLE)("$fault: harms no other batch on its way", async ({ fault, expected }) => {
    const items = Array.from({ length: 600 }, () => itemFor(newStream(), log));
    const before = proxy.done;
    proxy.arm(fault);
    const ends = await endsOf(items);
    expect(proxy.done).toBe(before + 1);
    await proxy.deliver();
    expect(await countsOf(items.map((item) => item.stream))).toEqual(
      ends.map((end) => (end === "committed" ? 1 : 0)),
    );
    // Half of them are on another connection.
    const gone = ends.filter((end) => end === "ERR_STORE_UNAVAILABLE").length;
    expect(gone + ends.filter((end) => end === "committed").length).toBe(600);
    if (expected === null) expect([0, 300]).toContain(gone);
    else expect(gone).toBe(expected === UNAVAILABLE ? 300 : 0);
  });

  it("leaves a log without gaps, that can be signed", async () => {
    const indices: number[] = [];
    for await (const { index } of store.readLog(log)) indices.push(index);
    expect(indices).toEqual(indices.map((_, at) => at));
    expect(await store.sealCheckpoint(log, "origin", testSigner)).toMatchObject({
      size: indices.length,
    });
  });
});

/** A connection of the server's owner, past the proxy. */
async function ownerOf(): Promise<pg.Client> {
  const owner = new pg.Client(ownerConfig(await startEmbedded(folder)));
  await owner.connect();
  return owner;
}

/** Wait until a commit waits for the lock that `owner` holds; its process in the server. */
async function waiterOf(owner: pg.Client): Promise<number> {
  for (;;) {
    const found = await owner.query<{ pid: number }>(
      "select pid from pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))",
    );
    if (found.rows[0] !== undefined) return found.rows[0].pid;
    await sleep(10);
  }
}

describe("a commit that waits for its log", () => {
  it("is not there, and told so, when the server ends its connection", async () => {
    const owner = await ownerOf();
    await owner.query("begin");
    await owner.query("select from sovereign.logs where log_id = $1 for update", [log]);
    const item = itemFor(newStream(), log);
    const ends = endsOf([item]);
    await owner.query("select pg_terminate_backend($1)", [await waiterOf(owner)]);
    await owner.query("rollback");
    await owner.end();
    expect(await ends).toEqual(["ERR_STORE_UNAVAILABLE"]);
    expect(await countsOf([item.stream])).toEqual([0]);
  });

  it("is there once, and told so, when its client is cut off and it gets its turn", async () => {
    const owner = await ownerOf();
    await owner.query("begin");
    await owner.query("select from sovereign.logs where log_id = $1 for update", [log]);
    const item = itemFor(newStream(), log);
    proxy.arm("before the answer");
    const ends = endsOf([item]);
    await waiterOf(owner);
    await owner.query("rollback");
    await owner.end();
    expect(await ends).toEqual(["committed"]);
    expect(await countsOf([item.stream])).toEqual([1]);
  });
});

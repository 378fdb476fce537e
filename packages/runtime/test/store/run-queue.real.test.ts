import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CommitItem } from "../../src/ledger/index.ts";
import type { ClaimedRun, RunQueue, WorkerPlace } from "../../src/store/run-queue.ts";
import { type GoalRig, openGoalRig } from "../support/goal-rig.ts";
import { runItem } from "../support/tenant-world.ts";

let rig: GoalRig;
let queue: RunQueue;
let here: WorkerPlace;
beforeAll(async () => {
  rig = await openGoalRig();
  queue = rig.installation.store.queue;
  here = { node: rig.installation.node.id, contents: "database", roles: ["runner"] };
});
afterAll(() => rig.close());
beforeEach(async () => {
  await rig.owner.query("delete from sovereign.queue");
});

async function fill(tenant: string, count: number, priority = 0): Promise<void> {
  await rig.owner.query(
    `insert into sovereign.queue (log_id, run_id, node, stays, priority)
     select $1, 'run_' || rpad($1, 10, 'x') || $3::int || lpad(i::text, 9, '0'), $4, 'its files', $3 from generate_series(1, $2) i`,
    [tenant, count, priority, here.node],
  );
}

/** A run that `fill` put there. */
const nameOf = (tenant: string, at: number, priority = 0): string =>
  `run_${tenant.padEnd(10, "x")}${priority}${String(at).padStart(9, "0")}`;

const taken = async (count: number, worker = "a"): Promise<string[]> => {
  const runs: string[] = [];
  for (let at = 0; at < count; at++) {
    const run = await queue.claim(worker, here, 60_000);
    if (run !== null) runs.push(run.tenantId);
  }
  return runs;
};

describe("the queue of runs", () => {
  it("gives a tenant with ten runs its turns beside one with ten thousand", async () => {
    await fill("big", 10_000);
    await fill("small", 10);
    const first = await taken(20);
    expect(first.filter((tenant) => tenant === "small")).toHaveLength(10);
    expect(await taken(2)).toEqual(["big", "big"]);
  });

  it("hands a tenant's runs out by priority, and then by age", async () => {
    await fill("acme", 2, 0);
    await fill("acme", 1, 5);
    const runs = [];
    for (let at = 0; at < 4; at++) runs.push((await queue.claim("a", here, 60_000))?.runId);
    expect(runs).toEqual([nameOf("acme", 1, 5), nameOf("acme", 1), nameOf("acme", 2), undefined]);
  });

  it("gives no run to two who ask at once", async () => {
    await fill("acme", 30);
    const claims = Array.from({ length: 40 }, (_, at) => queue.claim(`w${at}`, here, 60_000));
    const runs = (await Promise.all(claims)).flatMap((run) => run?.runId ?? []);
    expect(new Set(runs).size).toBe(runs.length);
    // Who comes while a run is being handed out may get none, and asks again.
    while (await queue.claim("late", here, 60_000)) runs.push("late");
    expect(runs).toHaveLength(30);
  });

  it("hands a run out again when its lease is over, and says who lost it", async () => {
    await fill("acme", 1);
    const lost = await claimed("a", 1);
    expect(lost).toMatchObject({ takes: 1, lostBy: null });
    await isOver();
    const taken = await claimed("b");
    expect(taken).toMatchObject({ takes: 2, lostBy: "a" });
    expect(await queue.beat("a", [lost], 60_000)).toEqual(new Map());
    expect(await queue.beat("b", [taken], 60_000)).toEqual(new Map([[taken.runId, true]]));
    await queue.finish("a", lost);
    expect(await waiting()).toBe(1);
    await queue.finish("b", taken);
    expect(await waiting()).toBe(0);
  });

  it("lets the lease of a run end that its worker does not name any more", async () => {
    await fill("acme", 2);
    const [kept] = [await claimed("a", 1), await claimed("a", 1)];
    expect(await queue.beat("a", [kept], 60_000)).toEqual(new Map([[kept.runId, true]]));
    await isOver();
    expect((await claimed("b")).runId).not.toBe(kept.runId);
    expect(await queue.claim("b", here, 60_000)).toBeNull();
  });

  it("lets leases go on while a tenant stays in a transaction with a run of its own", async () => {
    await fill("acme", 1);
    await fill("other", 1);
    const held = [await claimed("a"), await claimed("a")];
    await rig.owner.query("begin");
    await rig.owner.query("select from sovereign.queue where log_id = 'acme' for update");
    const beat = await queue.beat("a", held, 60_000).finally(() => rig.owner.query("rollback"));
    expect(beat).toEqual(new Map(held.map(({ runId, tenantId }) => [runId, tenantId === "other"])));
    expect(await queue.beat("a", held, 60_000)).toEqual(
      new Map(held.map(({ runId }) => [runId, true])),
    );
  });

  it("leaves a run alone for a while that was given back, and one of another folder", async () => {
    await fill("acme", 1);
    const run = await claimed("a");
    await queue.giveBack("b", run, { waitMs: 0, why: "it broke" });
    expect(await queue.claim("c", here, 60_000)).toBeNull();
    await queue.giveBack("a", run, { waitMs: 60_000, why: "it broke" });
    expect(await queue.claim("c", here, 60_000)).toBeNull();
    await rig.owner.query("update sovereign.queue set ready_at = now()");
    expect(await queue.claim("c", { ...here, node: "nod_of_somebody_else" }, 60_000)).toBeNull();
    expect(await claimed("c")).toMatchObject({ takes: 2, lostBy: null, why: "it broke" });
  });

  it("counts how often a run was handed out, but where nothing was wrong with it", async () => {
    await fill("acme", 1);
    for (let at = 0; at < 12; at++) {
      await queue.giveBack("a", await claimed("a"), { waitMs: 0, why: null });
    }
    for (let at = 1; at <= 11; at++) {
      const run = await claimed("a");
      expect(run.takes).toBe(at);
      await queue.giveBack("a", run, { waitMs: 0, why: `${at} broke` });
    }
    expect(await claimed("a")).toMatchObject({ takes: 12, why: "11 broke" });
  });

  it("hands a run that moves to whoever has its contents and a key of its role", async () => {
    const moves = { contents: "database", role: "runner" };
    const { store } = rig.installation;
    const queued = { runId: nameOf("acme", 1), place: { carriers: moves, priority: 0 } };
    const verdict = await store.commit({ ...runItem("acme"), queue: queued });
    expect(verdict).toMatchObject({ status: "committed" });
    expect(await queue.carriersOf("acme", nameOf("acme", 1))).toEqual(moves);
    expect(await queue.carriersOf("other", nameOf("acme", 1))).toBeNull();
    const other = { ...here, node: "nod_of_somebody_else" };
    for (const place of [
      { ...other, contents: null },
      { ...other, contents: "folder /mnt/shared" },
      { ...other, roles: [] },
      { ...other, roles: ["deployer"] },
    ]) {
      expect(await queue.claim("a", place, 60_000)).toBeNull();
      expect(await queue.elsewhere(place)).toEqual([{ node: null, ...moves, runs: 1 }]);
    }
    expect(await queue.elsewhere(other)).toEqual([]);
    expect(await queue.claim("a", other, 60_000)).toMatchObject({ runId: nameOf("acme", 1) });
  });

  it("tells for whom else runs wait, without those that a worker has", async () => {
    await fill("acme", 3);
    await claimed("a");
    const { node } = here;
    const elsewhere = { node: "nod_of_somebody_else", contents: "database", roles: ["runner"] };
    expect(await queue.elsewhere(elsewhere)).toEqual([
      { node, contents: null, role: null, runs: 2 },
    ]);
  });

  it("takes no more of a tenant than 20,000, and no harm comes to others", async () => {
    await fill("full", 20_000);
    const { store } = rig.installation;
    const item = (log: string): CommitItem => ({
      ...runItem(log),
      queue: {
        runId: nameOf(log, 0),
        place: { carriers: { node: here.node, stays: "its files" }, priority: 0 },
      },
    });
    const [full, other] = await Promise.all([
      store.commit(item("full")),
      store.commit(item("other")),
    ]);
    expect(full).toMatchObject({ status: "refused", reason: "invalid" });
    expect(other).toMatchObject({ status: "committed" });
    expect(await waiting("other")).toBe(1);
    expect(await waiting("full")).toBe(20_000);
  });

  it("shows a tenant its own runs, and nobody hands out without the claim for it", async () => {
    await fill("acme", 1);
    await fill("other", 1);
    await rig.owner.query("set role sovereign_app");
    for (const sql of [
      "select sovereign.claim_queued('a', 'n', null, '{}', 1)",
      "select sovereign.queued_elsewhere('n', null, '{}')",
      "select sovereign.beat_worker('a', '{acme}', '{r}', 1)",
      "select sovereign.return_queued('a', 'acme', 'r', 1, 'x')",
      "select sovereign.finish_queued('a', 'acme', 'r')",
      "insert into sovereign.queue (log_id, run_id, node, stays, priority) values ('a', 'b', 'c', 'd', 1)",
      "delete from sovereign.queue",
      "select * from sovereign.queue_turns",
      "select sovereign.write_queue('{}', '{}', '{}')",
    ]) {
      await expect(rig.owner.query(sql), sql).rejects.toMatchObject({ code: "42501" });
    }
    const { rows } = await rig.owner.query("select * from sovereign.queue");
    await rig.owner.query("reset role");
    expect(rows).toEqual([]);
  });
});

async function claimed(worker: string, leaseMs = 60_000): Promise<ClaimedRun> {
  const run = await queue.claim(worker, here, leaseMs);
  if (run === null) throw new Error("no run waits");
  return run;
}

/** Leases of a millisecond are. */
const isOver = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 20));

async function waiting(tenant = "acme"): Promise<number> {
  const found = await rig.owner.query<{ count: string }>(
    "select count(*) from sovereign.queue where log_id = $1",
    [tenant],
  );
  return Number(found.rows[0]?.count);
}

import { canonicalBytes, type JsonObject, type JsonValue, SovereignError } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import { describe, expect, it } from "vitest";
import { readRun } from "../../src/ledger/index.ts";
import type { RunSession } from "../../src/runs/index.ts";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { buildRun } from "../support/run-builder.ts";
import { World } from "../support/world.ts";
import { schemaFaults } from "../support/event-schemas.ts";

const HOUR = 3_600_000;
const refusal = (number: number, more: JsonObject = {}): JsonObject => ({
  ...{ role: "trainer", host: `host-${number}.example.org`, code: "ERR_EGRESS_DENIED" },
  ...{ reason: "no rule", ...more },
});

async function flood(session: RunSession, times: number, from = 0): Promise<void> {
  for (let at = from; at < from + times; at++)
    await session.note("egress.refused", "WARNING", refusal(at));
}

async function refusalsIn(store: MemoryStore): Promise<JsonObject[]> {
  const found: JsonObject[] = [];
  for await (const { entry } of readRun(store, "acme", RUN))
    if (entry.event_type === "egress.refused") found.push(entry.data);
  return found;
}

/** The next commit finds no database. */
function loseOne(store: MemoryStore): void {
  store.between = () => {
    store.between = () => null;
    return Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", "gone"));
  };
}

interface RunOnDisk {
  readonly world: World;
  readonly store: MemoryStore;
  readonly session: RunSession;
  /** While it is full, nothing is recorded. */
  readonly disk: { full: boolean };
}

async function runOnDisk(): Promise<RunOnDisk> {
  const world = await World.create();
  const store = new MemoryStore({ keysElsewhere: true });
  const disk = { full: false };
  store.between = () => (disk.full ? Promise.reject(new Error("disk full")) : null);
  const { session } = await buildRun(world, { store });
  await session.admit();
  return { world, store, session, disk };
}

/** How many refusals a run's entries speak of. */
const spokenOf = (found: readonly JsonObject[]): number =>
  found.reduce((sum, { left_out: more = 0 }) => sum + 1 + Number(more), 0);

describe("refusals of a run", () => {
  it("have an entry each up to a hundred; the others are counted when it ends", async () => {
    const made = await EvidenceWorld.create("sovereign", RUN, 0, (session) => flood(session, 512));
    const found = await refusalsIn(made.store);
    expect(found).toHaveLength(101);
    expect(found.slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, at) => refusal(at)));
    // The last one stands for those before it.
    expect(found[100]).toEqual(refusal(511, { left_out: 411 }));
    expect(schemaFaults("egress.refused", found[100] ?? {})).toEqual([]);
    const bundle = canonicalBytes((await made.bundle()) as unknown as JsonValue);
    const report = verifyBundle(bundle, { trustRoot: made.trustRoot() });
    expect(report.verdict).toBe("VALID");
    expect(JSON.stringify(report)).toContain('"connections_refused":512');
    made.dispose();
  });

  it("at once are counted all the same, and one kind does not use another's room up", async () => {
    const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session) => {
      await Promise.all(
        Array.from({ length: 300 }, (_, at) =>
          session.note("egress.refused", "WARNING", refusal(at)),
        ),
      );
      for (let at = 0; at < 200; at++) await session.note("bench.noted", "INFO", { at });
    });
    const found = await refusalsIn(made.store);
    expect([found.length, spokenOf(found)]).toEqual([101, 300]);
    let others = 0;
    for await (const { entry } of readRun(made.store, "acme", RUN))
      if (entry.event_type === "bench.noted") others += 1;
    expect(others).toBe(200);
    expect(judge(await made.bundle(), made.trustRoot()).verdict).toBe("VALID");
    made.dispose();
  });

  it("of a run that is gone on with again and again have one bound, and are told each hour", async () => {
    const world = await World.create();
    const store = new MemoryStore({ keysElsewhere: true });
    const { session } = await buildRun(world, { store });
    await session.admit();
    await flood(session, 60);
    await session.suspend("later");
    expect(await refusalsIn(store)).toHaveLength(60);
    const second = (await buildRun(world, { store })).session;
    await flood(second, 100, 60);
    expect(await refusalsIn(store)).toHaveLength(100);
    await second.suspend("later");
    let found = await refusalsIn(store);
    expect([found.length, spokenOf(found)]).toEqual([101, 160]);
    const third = (await buildRun(world, { store })).session;
    await flood(third, 50, 160);
    expect(await refusalsIn(store)).toHaveLength(101);
    world.clock.ms += HOUR;
    await flood(third, 50, 210);
    found = await refusalsIn(store);
    expect(found).toHaveLength(102);
    expect(found[101]).toEqual(refusal(210, { left_out: 50 }));
    await third.suspend("later");
    found = await refusalsIn(store);
    expect([found.length, spokenOf(found)]).toEqual([103, 260]);
    // Where none was left out, nothing is said of it.
    await third.suspend("later");
    expect(await refusalsIn(store)).toHaveLength(103);
    world.dispose();
  });

  it("that cannot be recorded are told as such, and are no room that was used", async () => {
    const { world, store, session, disk } = await runOnDisk();
    await flood(session, 90);
    disk.full = true;
    for (let at = 0; at < 50; at++) await expect(flood(session, 1, 1000)).rejects.toThrow("disk");
    disk.full = false;
    await flood(session, 30, 90);
    await session.suspend("later");
    const found = await refusalsIn(store);
    expect(found).toHaveLength(101);
    expect(found[99]).toEqual(refusal(99));
    world.dispose();
  });

  it("are left out for none that was lost while they came", async () => {
    const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, _, store) => {
      await flood(session, 99);
      loseOne(store);
      const all = await Promise.allSettled([99, 100, 101].map((at) => flood(session, 1, at)));
      expect(all.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
      await flood(session, 1, 102);
    });
    const found = await refusalsIn(made.store);
    expect(found.slice(0, 99)).toEqual(Array.from({ length: 99 }, (__, at) => refusal(at)));
    expect(found.slice(0, 100).filter((data) => "left_out" in data)).toEqual([]);
    expect(judge(await made.bundle(), made.trustRoot())).toMatchObject({ verdict: "VALID" });
    made.dispose();
  });

  it("are all counted by whoever ends again, where their number could not be recorded", async () => {
    const { world, store, session, disk } = await runOnDisk();
    // One alone, and then more.
    for (const [times, sum] of [
      [101, 101],
      [7, 108],
    ] as const) {
      await flood(session, times);
      disk.full = true;
      await expect(session.suspend("later")).rejects.toThrow("disk");
      disk.full = false;
      await session.suspend("later");
      expect(spokenOf(await refusalsIn(store))).toBe(sum);
    }
    world.dispose();
  });
});

describe("evidence of refusals", () => {
  /** A run whose entries of refusals are written as they are told, whatever was bounded. */
  async function judged(count: number, last: JsonObject): Promise<ReturnType<typeof judge>> {
    const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session) => {
      for (let at = 0; at < count - 1; at++)
        await session.note("egress.refused", "WARNING", refusal(at));
      await session.note("egress.refused", "WARNING", refusal(count, last));
    });
    const verdict = judge(await made.bundle(), made.trustRoot());
    made.dispose();
    return verdict;
  }

  it("is VALID where none was left out before the hundredth, and INVALID otherwise", async () => {
    expect((await judged(100, {})).verdict).toBe("VALID");
    for (const count of [1, 2, 100]) {
      const { verdict, failures } = await judged(count, { left_out: 5 });
      expect([count, verdict]).toEqual([count, "INVALID"]);
      expect(Object.keys(failures)).toEqual(["policy_resolution_trace"]);
    }
    for (const left_out of [0, -1, 1.5, "1", null])
      expect((await judged(1, { left_out })).verdict).toBe("INVALID");
  });
});

import { describe, expect, it } from "vitest";
import type { EffectResult } from "../../src/kernel/index.ts";
import { readRun } from "../../src/ledger/index.ts";
import { RunStopped, type RunSession } from "../../src/runs/index.ts";
import { awayFor } from "../support/away.ts";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import { FORBIDDEN } from "../support/kernel-law.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { buildRun } from "../support/run-builder.ts";
import { TRAIN, World } from "../support/world.ts";

const USAGE = { wall_ms: 1, output_bytes: 0 };
const RESULTS: Readonly<Record<string, EffectResult>> = {
  completed: { status: "completed", output: null, artifacts: [], usage: USAGE },
  failed: { status: "failed", code: "ERR_PROGRAM_FAILED", reason: "exit 1" },
  killed: { status: "killed", code: "ERR_EFFECT_KILLED", reason: "stopped" },
};

async function stopped(session: RunSession, action = TRAIN): Promise<unknown> {
  const asked = session.perform({ stepId: "late", role: "trainer", action });
  return asked.then(
    ({ status }) => status,
    (error: unknown) => (error instanceof RunStopped ? error.outcome.status : error),
  );
}

async function eventsOf(store: MemoryStore): Promise<string[]> {
  const events: string[] = [];
  for await (const { entry } of readRun(store, "acme", RUN)) events.push(entry.event_type);
  return events;
}

/** What was done in the run's last step, as its evidence tells it. */
async function tail(made: EvidenceWorld): Promise<string[]> {
  const events = await eventsOf(made.store);
  return events.slice(events.lastIndexOf("consensus.reached") + 1);
}

describe("what the kernel kept while the database was away", () => {
  it.each([
    ["completed", ["execution.completed", "execution.unavailable"]],
    ["failed", ["execution.failed", "execution.unavailable"]],
    ["killed", ["execution.killed", "execution.unavailable"]],
  ])("is in the evidence when the run is sealed: %s", async (end, lost) => {
    const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world, store) => {
      world.result = RESULTS[end] ?? new Error("none");
      const away = awayFor(store, ...lost);
      expect(await stopped(session)).toBe("UNAVAILABLE");
      expect(away).toEqual([]);
      return "failed";
    });
    expect(await tail(made)).toEqual(["execution.authorized", ...lost, "run.sealed"]);
    const bundle = await made.bundle();
    expect(judge(bundle, made.trustRoot())).toEqual({ verdict: "VALID", failures: {} });
    made.dispose();
  });

  it("is in the evidence where it is a refusal", async () => {
    const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, _world, store) => {
      awayFor(store, "execution.denied");
      expect(await stopped(session, FORBIDDEN)).toBe("DENIED");
      return "failed";
    });
    expect(await tail(made)).toEqual(["execution.denied", "run.sealed"]);
    expect(judge(await made.bundle(), made.trustRoot()).verdict).toBe("VALID");
    made.dispose();
  });

  it("keeps the seal waiting until it is recorded", async () => {
    const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world, store) => {
      world.result = RESULTS["failed"] ?? new Error("none");
      const away = awayFor(store, "execution.failed", "execution.failed", "execution.failed");
      expect(await stopped(session)).toBe("UNAVAILABLE");
      const early = session.seal("failed", "too early");
      await expect(early).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
      expect(away).toEqual([]);
      return "failed";
    });
    const kept = ["execution.failed", "execution.unavailable"];
    expect(await tail(made)).toEqual(["execution.authorized", ...kept, "run.sealed"]);
    expect(judge(await made.bundle(), made.trustRoot()).verdict).toBe("VALID");
    made.dispose();
  });
});

describe("what the kernel kept", () => {
  async function runThatFailed(): Promise<{ session: RunSession; store: MemoryStore }> {
    const world = await World.create();
    const store = new MemoryStore({ keysElsewhere: true });
    const { session } = await buildRun(world, { store });
    await session.admit();
    world.result = RESULTS["failed"] ?? new Error("none");
    awayFor(store, "execution.failed", "execution.unavailable");
    expect(await stopped(session)).toBe("UNAVAILABLE");
    world.dispose();
    return { session, store };
  }
  const doors: readonly [string, string, (session: RunSession) => Promise<unknown>][] = [
    ["a note", "run.noted", (session) => session.note("run.noted", "INFO", {})],
    ["the run's wait", "run.suspended", (session) => session.suspend("it waits")],
    ["files of evidence", "evidence.recorded", (session) => session.recordEvidence([])],
    [
      "a statement",
      "attestation.issued",
      (session) => session.attest("x", () => Promise.resolve({})),
    ],
    ["one that goes on", "run.resumed", (session) => session.resume("pending", false)],
  ];

  it.each(doors)("goes before %s", async (_name, event, write) => {
    const { session, store } = await runThatFailed();
    await write(session);
    const kept = ["execution.failed", "execution.unavailable"];
    const events = ["run.admitted", "execution.authorized", ...kept, event];
    expect(await eventsOf(store)).toEqual(events);
  });
});

describe("a sealed run", () => {
  it("takes no further record of the process that sealed it", async () => {
    let session: RunSession | undefined;
    const made = await EvidenceWorld.create("sovereign", RUN, 0, (one) => {
      session = one;
      return Promise.resolve();
    });
    const { count } = await made.store.streamHead("acme", RUN);
    const late = session?.note("run.noted", "INFO", {});
    await expect(late).rejects.toMatchObject({ code: "ERR_RUN_FENCED" });
    expect(session && (await stopped(session))).toBe("BLOCKED");
    expect((await made.store.streamHead("acme", RUN)).count).toBe(count);
    expect(judge(await made.bundle(), made.trustRoot()).verdict).toBe("VALID");
    made.dispose();
  });

  /** What is recorded by others while the run is read for its seal. */
  async function sealedAmid(times: number): Promise<{ made: EvidenceWorld; late: number }> {
    let late = 0;
    const made = await EvidenceWorld.create("sovereign", RUN, 0, (session, _world, store) => {
      const head = store.streamHead.bind(store);
      // It is asked for when the entries were read.
      store.streamHead = async (...asked) => {
        const found = await head(...asked);
        if (asked[1] === RUN && late < times) {
          late += 1;
          await session.note("bench.noted", "INFO", { late });
        }
        return found;
      };
      return Promise.resolve();
    });
    return { made, late };
  }

  it("holds what was recorded while its proof was signed", async () => {
    const { made, late } = await sealedAmid(1);
    expect([late, await tail(made)]).toEqual([1, ["bench.noted", "run.sealed"]]);
    expect(judge(await made.bundle(), made.trustRoot()).verdict).toBe("VALID");
    made.dispose();
  });

  it("is none where something is recorded each time that it is read", async () => {
    const found = await sealedAmid(99).then(() => "sealed", String);
    expect(found).toContain("Another process has taken the run over: run.sealed");
  });
});

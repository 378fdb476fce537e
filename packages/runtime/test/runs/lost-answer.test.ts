import { RunTrace, SovereignError } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CommitItem, CommitVerdict } from "../../src/ledger/index.ts";
import { readEntries, readSteps, type RunSession, RunStopped } from "../../src/runs/index.ts";
import { RUN } from "../support/evidence.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { buildRun } from "../support/run-builder.ts";
import { TRAIN, World } from "../support/world.ts";

/** What becomes of a commit whose answer is lost. */
type Loss = "kept" | "dropped";

/** Loses the answers of commits, one after another, from the first entry of an event on. */
class LosingStore extends MemoryStore {
  from = "";
  losses: Loss[] = [];

  override async commit(item: CommitItem): Promise<CommitVerdict> {
    const event = JSON.parse(Buffer.from(item.entries[0]?.bytes ?? "{}").toString()) as object;
    const begins = (event as { event_type?: string }).event_type === this.from;
    const loss = begins || this.from === "" ? this.losses.shift() : undefined;
    if (loss === undefined) return super.commit(item);
    this.from = "";
    if (loss === "kept") await super.commit(item);
    throw new SovereignError("ERR_STORE_UNAVAILABLE", "no answer");
  }
}

let world: World;
let store: LosingStore;
beforeEach(async () => {
  world = await World.create();
  store = new LosingStore({ keysElsewhere: true });
});
afterEach(() => {
  world.dispose();
});

async function processOf(): Promise<RunSession> {
  const { steps } = await readSteps(store, "acme", RUN);
  return (await buildRun(world, { store, steps, plan: { plan: { kind: "goal" } } })).session;
}

const perform = (session: RunSession, stepId: string, once = false) =>
  session.perform({ stepId, role: "trainer", action: TRAIN, once });

async function stoppedAt(session: RunSession, stepId: string): Promise<unknown> {
  const end: unknown = await perform(session, stepId).catch((error: unknown) => error);
  expect(end).toBeInstanceOf(RunStopped);
  return (end as RunStopped).outcome;
}

/** The run's entries as its rows must say them, each by its event, its step and its code. */
async function recorded(): Promise<string[]> {
  const entries = (await readEntries(store, "acme", RUN)).map(({ entry }) => entry);
  const made = RunTrace.of(entries);
  const rows = store.traces.get(RUN);
  expect(rows?.steps).toEqual(made.steps);
  return entries.map(({ event_type: event, data }) => {
    const { step_id, attempt } = (data["context"] ?? data) as Record<string, string | undefined>;
    const code = data["code"] as string | undefined;
    return [event, step_id, attempt, code].filter((one) => one !== undefined).join(" ");
  });
}

describe("an entry whose answer was lost, and that is there", () => {
  it.each<[string, Loss[]]>([
    ["at once", ["kept"]],
    ["where its repeat was lost, too", ["kept", "dropped"]],
  ])("is a step's end once, and others go on: %s", async (_name, losses) => {
    const session = await processOf();
    await session.admit();
    [store.from, store.losses] = ["execution.completed", losses];
    const outcome = await stoppedAt(session, "a");
    expect(outcome).toMatchObject({ status: "UNAVAILABLE", effectRan: true });
    expect(await perform(session, "b")).toMatchObject({ status: "COMPLETED" });
    expect(await recorded()).toEqual([
      "run.admitted",
      "execution.authorized a 1",
      "execution.completed a 1",
      "execution.unavailable a 1 ERR_OUTCOME_UNRECORDED",
      "execution.authorized b 1",
      "execution.completed b 1",
    ]);
    // Whoever goes on with the run has the step as done.
    world.effects = 0;
    expect(await perform(await processOf(), "a")).toMatchObject({ status: "COMPLETED" });
    expect(world.effects).toBe(0);
  });

  it("is the beginning of a step that did not begin: it has an end, and is tried again", async () => {
    const session = await processOf();
    await session.admit();
    [store.from, store.losses] = ["execution.authorized", ["kept"]];
    const outcome = await stoppedAt(session, "a");
    expect(outcome).toMatchObject({ status: "UNAVAILABLE", effectRan: false });
    expect(world.effects).toBe(0);
    expect(await recorded()).toEqual([
      "run.admitted",
      "execution.authorized a 1",
      "execution.failed a 1 ERR_STORE_UNAVAILABLE",
      "execution.unavailable a 1 ERR_STORE_UNAVAILABLE",
    ]);
    const once = true;
    expect(await perform(await processOf(), "a", once)).toMatchObject({ status: "COMPLETED" });
    expect(world.effects).toBe(1);
  });

  it("is a run's own, and the run goes on behind it", async () => {
    const session = await processOf();
    await session.admit();
    [store.from, store.losses] = ["run.suspended", ["kept"]];
    await expect(session.suspend("why")).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
    await session.resume("pending", true);
    expect(await recorded()).toEqual(["run.admitted", "run.suspended", "run.resumed"]);
  });
});

describe("a seal after an answer was lost", () => {
  it.each<[string, string, (session: RunSession) => Promise<unknown>]>([
    ["a note's", "run.noted", (session) => session.note("run.noted", "INFO", {})],
    ["a step's end", "execution.completed", (session) => perform(session, "a")],
    ["a step's beginning", "execution.authorized", (session) => perform(session, "a")],
  ])("is over what is there, whether it came in or not: %s", async (_name, event, work) => {
    for (const loss of ["kept", "dropped"] as const) {
      store = new LosingStore({ keysElsewhere: true });
      const session = await processOf();
      await session.admit();
      [store.from, store.losses] = [event, [loss]];
      await work(session).catch(() => undefined);
      expect(await session.seal("failed", "it was stopped")).toMatchObject({ status: "failed" });
      const entries = (await readEntries(store, "acme", RUN)).map(({ entry }) => entry);
      const last = entries.at(-1);
      expect(last).toMatchObject({
        event_type: "run.sealed",
        data: { count: entries.length - 1, head: last?.previous_hash },
      });
    }
  });

  it("is none a second time, where it was the seal's own", async () => {
    const session = await processOf();
    await session.admit();
    [store.from, store.losses] = ["run.sealed", ["kept"]];
    const coded = { code: "ERR_STORE_UNAVAILABLE" };
    await expect(session.seal("failed", "why")).rejects.toMatchObject(coded);
    await expect(session.seal("failed", "why")).rejects.toMatchObject({ code: "ERR_RUN_FENCED" });
    const events = (await readEntries(store, "acme", RUN)).map(({ entry }) => entry.event_type);
    expect(events).toEqual(["run.admitted", "run.sealed"]);
  });
});

describe("a stream that conflicts", () => {
  it("is refused where another process wrote, also after an answer was lost", async () => {
    const session = await processOf();
    await session.admit();
    [store.from, store.losses] = ["execution.completed", ["dropped", "dropped"]];
    await stoppedAt(session, "a");
    await (await processOf()).resume("running", true);
    expect(await stoppedAt(session, "b")).toMatchObject({ code: "ERR_RUN_FENCED" });
    expect((await recorded()).at(-1)).toBe("run.resumed");
  });
});

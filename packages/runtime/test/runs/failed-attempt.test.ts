import { digestOf, type ErrorCode } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { EffectResult } from "../../src/kernel/index.ts";
import { type RunSession, RunStopped, readSteps } from "../../src/runs/index.ts";
import { RUN } from "../support/evidence.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { buildRun } from "../support/run-builder.ts";
import { TRAIN, World } from "../support/world.ts";

let world: World;
let store: MemoryStore;
beforeEach(async () => {
  world = await World.create();
  store = new MemoryStore({ keysElsewhere: true });
});
afterEach(() => {
  world.dispose();
});

const DONE: EffectResult = {
  status: "completed",
  output: {},
  artifacts: [],
  usage: { wall_ms: 1, output_bytes: 0 },
};

/** A process that opens the run and reads what is there. */
async function processOf(retryFailed = false): Promise<RunSession> {
  const { steps } = await readSteps(store, "acme", RUN);
  return (await buildRun(world, { store, steps, retryFailed })).session;
}

const perform = (session: RunSession, once = false) =>
  session.perform({ stepId: "train", role: "trainer", action: TRAIN, once });

/** The first process: the step ends badly, something else is recorded, and the process is gone. */
async function fail(status: "failed" | "killed", code: ErrorCode, then: string[]): Promise<void> {
  const session = await processOf();
  world.result = { status, code, reason: "why" };
  await expect(perform(session)).rejects.toBeInstanceOf(RunStopped);
  for (const event of then) await session.note(event, "INFO", { role: "validator", reason: "x" });
  world.result = DONE;
  world.effects = 0;
}

describe("a step whose bad end is recorded, in a run that is gone on with", () => {
  it.each<[string, "failed" | "killed", ErrorCode, string[], boolean]>([
    ["failed", "failed", "ERR_PROGRAM_FAILED", [], false],
    [
      "failed before its run waited for a key",
      "failed",
      "ERR_PROGRAM_FAILED",
      ["run.suspended"],
      false,
    ],
    ["was killed by a limit", "killed", "ERR_PROGRAM_KILLED", [], false],
    [
      "was killed by a limit, and the run went on without it",
      "killed",
      "ERR_PROGRAM_KILLED",
      ["agent.abstained", "run.suspended"],
      false,
    ],
    ["was killed, in a batch, by a stop", "killed", "ERR_SCRAM_TRIPPED", [], true],
    ["was killed, in a batch, by hand", "killed", "ERR_EFFECT_KILLED", [], true],
    [
      "was killed, to be done once, while the database was away",
      "killed",
      "ERR_STORE_UNAVAILABLE",
      [],
      true,
    ],
    [
      "was killed, to be done once, without its sentinel",
      "killed",
      "ERR_SCRAM_SENTINEL_LOST",
      ["run.suspended"],
      true,
    ],
  ])("has that end, and is not tried again: it %s", async (_name, status, code, then, once) => {
    await fail(status, code, then);
    const end = await perform(await processOf(), once).catch((error: unknown) => error);
    expect(end).toBeInstanceOf(RunStopped);
    const { outcome } = end as RunStopped;
    expect(outcome).toMatchObject({ status: status.toUpperCase(), reason: "why", entryIndex: 1 });
    expect(outcome.actionDigest).toBe(digestOf(TRAIN));
    expect((end as RunStopped).passes).toBe(false);
    expect(world.effects).toBe(0);
  });

  it.each<[string, "failed" | "killed", ErrorCode, string[]]>([
    ["lacked what is there again", "failed", "ERR_DISK_LOW", []],
    ["lost its engine", "killed", "ERR_SANDBOX_ENGINE_LOST", []],
    ["lost its sentinel", "killed", "ERR_SCRAM_SENTINEL_LOST", []],
    ["was stopped by the switch", "killed", "ERR_SCRAM_TRIPPED", []],
    ["was interrupted", "killed", "ERR_EFFECT_KILLED", []],
    ["was interrupted, and the run waited", "killed", "ERR_PROGRAM_KILLED", ["run.suspended"]],
  ])("is tried again as another attempt: it %s", async (_name, status, code, then) => {
    await fail(status, code, then);
    expect(await perform(await processOf())).toMatchObject({ status: "COMPLETED" });
    expect(world.effects).toBe(1);
    const { steps } = await readSteps(store, "acme", RUN);
    expect(steps).toMatchObject([{ status: "completed", attempt: 2 }]);
  });

  it("is tried again where somebody asks for that", async () => {
    await fail("failed", "ERR_PROGRAM_FAILED", []);
    expect(await perform(await processOf(true))).toMatchObject({ status: "COMPLETED" });
    expect(world.effects).toBe(1);
  });
});

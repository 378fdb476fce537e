import { randomInt } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Action,
  canonicalBytes,
  type Envelope,
  parseCanonicalJson,
  sha256Hex,
} from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemEntropy } from "../../src/system/index.ts";
import {
  createModelRegistry,
  createPipelineEffects,
  type ModelRegistry,
  SwitchedModels,
} from "../../src/pipeline/index.ts";
import { ArtifactStore, type RunSession } from "../../src/runs/index.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { approvedBy, buildRun } from "../support/run-builder.ts";
import { World } from "../support/world.ts";

const RUN = `run_${"a".repeat(20)}`;
const MODEL = Buffer.from("a model");

/** What a killed process does: nothing more. */
class Killed extends Error {}

let folder: string;
let world: World;
let store: MemoryStore;
let artifacts: ArtifactStore;
/** Who is asked for approval, and how often. */
let asked: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-recall-"));
  world = await World.create();
  store = new MemoryStore({ keysElsewhere: true });
  artifacts = new ArtifactStore(join(folder, "artifacts"));
  asked = 0;
});
afterEach(() => {
  world.dispose();
  rmSync(folder, { recursive: true, force: true });
});

/** A process that owns the run, and dies where it is told to. */
async function processOf(
  killAt: string | null,
  more: { approve?: boolean; existing?: Envelope[] } = {},
): Promise<{ session: RunSession; registry: ModelRegistry }> {
  const die = (where: string): void => {
    if (where === killAt) throw new Killed(where);
  };
  const registry = createModelRegistry({
    folder: join(folder, "registry"),
    clock: world.clock,
    entropy: systemEntropy,
    onStep: die,
  });
  const sandbox = { run: () => Promise.reject(new Error("no program here")) };
  const effects = createPipelineEffects({
    registry,
    artifacts,
    ledger: store,
    sandbox,
    programs: folder,
    modules: null,
    scratch: join(folder, "scratch"),
  });
  const consent = approvedBy(world);
  const { session } = await buildRun(world, {
    store,
    plan: { runId: RUN },
    effects,
    epoch: 2,
    steps: await store.listSteps(),
    around: (recorder) => ({
      record: async (runId, entry) => {
        die(`before ${entry.event}`);
        const verdict = await recorder.record(runId, entry);
        die(`after ${entry.event}`);
        return verdict;
      },
      wasLeftOpen: recorder.wasLeftOpen.bind(recorder),
    }),
    approvals: async (pending) => {
      asked += 1;
      return more.approve === false ? null : consent(pending);
    },
  });
  return { session, registry };
}

const promotion = (replaces: { version: number; sha256: string } | null): Action => ({
  type: "model.promote",
  resource: "penguins",
  params: {
    artifact: "model",
    sha256: sha256Hex(MODEL),
    bytes: MODEL.length,
    consensus: "none",
    replaces,
  },
});
const step = (action: Action) => ({ stepId: "promote", role: "deployer", action });

async function events(): Promise<string[]> {
  const found: string[] = [];
  for await (const { bytes } of store.readStream("acme", RUN)) {
    found.push((parseCanonicalJson(bytes) as { event_type: string }).event_type);
  }
  return found;
}

/** The world of a run: its artifacts are there. */
async function begin(): Promise<void> {
  await artifacts.put("model", MODEL, "x");
}

const KILLS = [
  "before execution.authorized",
  "after execution.authorized",
  "blob_kept",
  "record_named",
  "before execution.completed",
  "after execution.completed",
] as const;

describe("a promotion whose process is killed", () => {
  it.each(KILLS)("is in the ledger as it is in the registry: %s", async (killAt) => {
    await begin();
    const first = await processOf(killAt);
    const ended = await first.session
      .perform(step(promotion(null)))
      .catch((error: unknown) => error);
    // What is thrown after the switch changes nothing of it: it is found, and recorded as done.
    if (killAt === "record_named") expect(ended).toMatchObject({ status: "COMPLETED" });
    else expect(ended).toBeInstanceOf(Error);
    await agree();
  });

  it("agrees with the registry after each of 60 kills at random instants", async () => {
    await begin();
    for (let kill = 0; kill < 60; kill++) {
      rmSync(join(folder, "registry"), { recursive: true, force: true });
      store = new MemoryStore({ keysElsewhere: true });
      for (let deaths = randomInt(1, 4); deaths > 0; deaths--) {
        const { session } = await processOf(KILLS[randomInt(KILLS.length)] ?? null);
        await session.perform(step(promotion(null))).catch(() => undefined);
      }
      await agree();
    }
  }, 60_000);

  /** Resume until it is done: the switch stands once in the registry, and as one end in the ledger. */
  async function agree(): Promise<void> {
    const { session, registry } = await processOf(null);
    await session.perform(step(promotion(null)));
    const history = await registry.history("penguins");
    expect(history.map(({ digest }) => digest)).toEqual([sha256Hex(MODEL)]);
    expect((await events()).filter((event) => event === "execution.completed")).toHaveLength(1);
  }

  it("asks nobody again for what was approved and done", async () => {
    await begin();
    const first = await processOf("before execution.completed");
    await expect(first.session.perform(step(promotion(null)))).rejects.toThrow(Killed);
    const approvals = asked;
    const second = await processOf(null, { approve: false });
    const done = await second.session.perform(step(promotion(null)));
    expect(done).toMatchObject({ output: { version: 1, digest: sha256Hex(MODEL) } });
    expect(asked).toBe(approvals);
    const ended = (await events()).slice(-2);
    expect(ended).toEqual(["execution.authorized", "execution.completed"]);
    const third = await processOf(null);
    expect(await third.session.authorizedAction("promote")).toEqual(promotion(null));
  });

  it("waits for approval again where it did not happen, and does not end", async () => {
    await begin();
    const first = await processOf("after execution.authorized");
    await expect(first.session.perform(step(promotion(null)))).rejects.toThrow(Killed);
    const second = await processOf(null, { approve: false });
    await expect(second.session.perform(step(promotion(null)))).rejects.toMatchObject({
      passes: true,
      outcome: { status: "PENDING" },
    });
    expect(readdirSync(folder)).not.toContain("registry");
  });

  it("does not replace another model than the one that was named", async () => {
    await begin();
    const { session, registry } = await processOf(null);
    await registry.promote({
      model: "penguins",
      digest: sha256Hex(Buffer.from("meanwhile")),
      bytes: Buffer.from("meanwhile"),
      expectedCurrent: null,
      runId: RUN,
      idempotencyKey: "other",
    });
    await expect(session.perform(step(promotion(null)))).rejects.toMatchObject({
      outcome: { status: "FAILED", code: "ERR_REGISTRY_CONFLICT" },
    });
    expect((await registry.current("penguins"))?.version).toBe(1);
  });
});

describe("a registry that is not what the ledger recorded", () => {
  const output = (value: object): Uint8Array =>
    canonicalBytes({ artifacts: [], usage: { wall_ms: 0, output_bytes: 0 }, output: { ...value } });

  async function promoted(count: number): Promise<{ registry: ModelRegistry; ends: Uint8Array[] }> {
    const { registry } = await processOf(null);
    const ends: Uint8Array[] = [];
    let before: string | null = null;
    for (let version = 1; version <= count; version++) {
      const bytes = Buffer.from(`model ${version}`);
      const record = await registry.promote({
        model: "penguins",
        digest: sha256Hex(bytes),
        bytes,
        expectedCurrent: before,
        runId: RUN,
        idempotencyKey: `key ${version}`,
      });
      before = record.digest;
      ends.push(
        output({ model: "penguins", version, digest: record.digest, before: record.before }),
      );
    }
    return { registry, ends };
  }
  const models = (
    registry: ModelRegistry,
    ends: Uint8Array[],
    run: { sealed: object | null } | null = { sealed: {} },
    isOwn = true,
  ): SwitchedModels => {
    const outputs = ends.map((one) => ({ runId: RUN, output: one }));
    const ledger = {
      completedOutputs: () => Promise.resolve(outputs),
      findRun: () => Promise.resolve(run),
    };
    return new SwitchedModels(registry, ledger, "acme", () => isOwn);
  };
  const records = (): string => join(folder, "registry", "models", "penguins");

  it("is as it was recorded while nobody touches it", async () => {
    const { registry, ends } = await promoted(3);
    expect(await models(registry, ends).current("penguins")).toMatchObject({ version: 3 });
    expect(await models(registry, []).current("other")).toBeNull();
  });

  it("is noticed when it was cut back", async () => {
    const { registry, ends } = await promoted(3);
    rmSync(join(records(), "000000003.json"));
    await expect(models(registry, ends).current("penguins")).rejects.toMatchObject({
      code: "ERR_REGISTRY_CORRUPT",
    });
  });

  it("is noticed when a run that has ended did not record its last switches", async () => {
    const { registry, ends } = await promoted(3);
    const found = models(registry, ends.slice(0, 2)).current("penguins");
    await expect(found).rejects.toMatchObject({ code: "ERR_REGISTRY_CORRUPT" });
    await expect(found).rejects.toThrow("switch 3 of run_");
    const none = models(registry, []).current("penguins");
    await expect(none).rejects.toThrow("switch 1 of run_");
  });

  it("has what nobody recorded taken back, the last first", async () => {
    const { registry, ends } = await promoted(3);
    const found = models(registry, ends.slice(0, 1));
    const strays = (await found.unrecorded("penguins")).map(({ record }) => record);
    expect(strays.map(({ version }) => version)).toEqual([2, 3]);
    expect(await models(registry, ends).unrecorded("penguins")).toEqual([]);
    // As a process leaves it that is killed in between.
    await registry.setAside(strays.slice(1));
    expect((await found.unrecorded("penguins")).map(({ record }) => record.version)).toEqual([2]);
    await registry.setAside(strays.slice(0, 1));
    expect(await found.unrecorded("penguins")).toEqual([]);
    expect(await found.current("penguins")).toMatchObject({ version: 1 });
    const aside = readdirSync(join(folder, "registry", "set-aside", "penguins"));
    expect(aside.map((name) => name.slice(0, 14)).sort()).toEqual([
      "000000002.json",
      "000000003.json",
    ]);
    expect(await registry.models()).toEqual(["penguins"]);
  });

  it("is as it is where a switch is made, recorded and its run sealed while it is looked at", async () => {
    const { registry, ends } = await promoted(3);
    const outputs = ends.map((one) => ({ runId: RUN, output: one }));
    // The ledger is asked before the third switch is made, or after; the registry, after all of them.
    for (const first of [2, 3]) {
      let asks = 0;
      const ledger = {
        completedOutputs: () => Promise.resolve(outputs.slice(0, asks++ === 0 ? first : 3)),
        findRun: () => Promise.resolve({ sealed: {} }),
      };
      const found = new SwitchedModels(registry, ledger, "acme", () => true).current("penguins");
      expect(await found).toMatchObject({ version: 3 });
    }
    // And the registry before it, the ledger after it, where both are asked in that order.
    let known = 2;
    const growing = {
      history: async (model: string) => (await registry.history(model)).slice(0, known),
    };
    const ledger = {
      completedOutputs: () => {
        known = 3;
        return Promise.resolve(outputs);
      },
      findRun: () => Promise.resolve({ sealed: {} }),
    };
    const found = new SwitchedModels(growing, ledger, "acme", () => true).current("penguins");
    expect(await found).toMatchObject({ version: 3 });
  });

  it("is as it is where another machine switched a model of that name in its own", async () => {
    const { registry, ends } = await promoted(3);
    const far = output({ model: "penguins", version: 4, digest: "4".repeat(64), before: null });
    const found = await models(registry, [...ends, far], null, false).current("penguins");
    expect(found).toMatchObject({ version: 3 });
    const own = models(registry, [...ends, far]).current("penguins");
    await expect(own).rejects.toMatchObject({ code: "ERR_REGISTRY_CORRUPT" });
  });

  it.each([
    ["that goes on: it was killed before it could", { sealed: null }],
    ["of another tenant", null],
  ])("is as it is where the switch is of a run %s", async (_name, run) => {
    const { registry, ends } = await promoted(3);
    const found = await models(registry, ends.slice(0, 2), run).current("penguins");
    expect(found).toMatchObject({ version: 3 });
  });

  it("is as it is where a later switch was recorded, whose approvals name what it replaced", async () => {
    const { registry, ends } = await promoted(3);
    const found = await models(registry, ends.slice(2)).current("penguins");
    expect(found).toMatchObject({ version: 3 });
  });

  it("is noticed when its last record was edited, and is a record still", async () => {
    const { registry, ends } = await promoted(3);
    const path = join(records(), "000000003.json");
    const record = readFileSync(path, "utf8");
    const [second, third] = [2, 3].map((at) => sha256Hex(Buffer.from(`model ${at}`)));
    for (const [from, to] of [
      [`"digest":"${third}"`, `"digest":"${second}"`],
      [`"digest":"${third}"`, `"digest":"${sha256Hex(Buffer.from("model 1"))}"`],
      ['"version":3', '"version":4'],
    ] as const) {
      writeFileSync(path, record.replace(from, to));
      expect(readFileSync(path, "utf8")).not.toBe(record);
      await expect(models(registry, ends).current("penguins")).rejects.toMatchObject({
        code: "ERR_REGISTRY_CORRUPT",
      });
    }
    writeFileSync(path, record);
    expect(await models(registry, ends).current("penguins")).toMatchObject({ version: 3 });
  });

  it("is noticed when it was emptied, or begun anew", async () => {
    const { ends } = await promoted(2);
    rmSync(join(folder, "registry"), { recursive: true });
    const { registry } = await processOf(null);
    await expect(models(registry, ends).current("penguins")).rejects.toMatchObject({
      code: "ERR_REGISTRY_CORRUPT",
    });
    const again = await promoted(1);
    await expect(models(again.registry, ends).current("penguins")).rejects.toMatchObject({
      code: "ERR_REGISTRY_CORRUPT",
    });
  });

  it("is noticed when a rollback is gone", async () => {
    const { registry, ends } = await promoted(2);
    const proof = await registry.rollback({
      model: "penguins",
      toDigest: sha256Hex(Buffer.from("model 1")),
      expectedCurrent: sha256Hex(Buffer.from("model 2")),
      runId: RUN,
      idempotencyKey: "back",
    });
    const all = [...ends, output(proof)];
    expect(await models(registry, all).current("penguins")).toMatchObject({ version: 3 });
    rmSync(join(records(), "000000003.json"));
    await expect(models(registry, all).current("penguins")).rejects.toMatchObject({
      code: "ERR_REGISTRY_CORRUPT",
    });
  });
});

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeyLogReplay, RunTrace } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import * as api from "../src/index.ts";
import { ApiTokens } from "../src/store/api-tokens.ts";
import { StoredQueue } from "../src/store/stored-queue.ts";
import { createModelRegistry } from "../src/pipeline/index.ts";
import { AgentSession } from "../src/services/agents/agent-session.ts";
import { Journal } from "../src/scram/index.ts";
import { RunRecorder } from "../src/runs/index.ts";
import { EMPTY_STREAM, StreamWriter } from "../src/ledger/index.ts";
import { QuietSentinel } from "./support/quiet-sentinel.ts";
import { MemoryStore } from "./support/memory-store.ts";
import { RUN } from "./support/evidence.ts";
import { requestFor } from "./support/kernel-law.ts";
import { buildRun } from "./support/run-builder.ts";
import { TRAIN, World } from "./support/world.ts";

let world: World;
let store: MemoryStore;
let folder: string;
beforeEach(async () => {
  world = await World.create();
  store = new MemoryStore({ keysElsewhere: true });
  folder = mkdtempSync(join(tmpdir(), "sov-fixed-"));
});
afterEach(() => {
  world.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const nothing = (): undefined => undefined;

/** What of an object takes another value, in itself and in what it inherits. */
function replaced(object: object): string[] {
  const found: string[] = [];
  for (const place of chainOf(object)) {
    for (const name of Reflect.ownKeys(place)) {
      const before = Reflect.getOwnPropertyDescriptor(place, name);
      // Through the object, as a program writes it, and where the method stands.
      for (const holder of [object, place]) {
        const taken =
          Reflect.defineProperty(holder, name, { value: nothing }) ||
          (before?.set === undefined && Reflect.set(holder, name, nothing));
        if (!taken) continue;
        found.push(String(name));
        Reflect.deleteProperty(object, name);
        if (before !== undefined) Reflect.defineProperty(place, name, before);
      }
    }
  }
  return [...new Set(found)];
}

function chainOf(object: object): object[] {
  const above = Object.getPrototypeOf(object) as object | null;
  const ends = above === null || above === Object.prototype || above === Function.prototype;
  return ends ? [object] : [object, ...chainOf(above)];
}

function writerOf(head = EMPTY_STREAM): StreamWriter {
  return new StreamWriter(store, "acme", RUN, head);
}

function recorderOf(writer = writerOf()): RunRecorder {
  const { clock } = world;
  return new RunRecorder({ runId: RUN, tenantId: "acme", writer, clock, epoch: null });
}

describe("an object that a program holds takes no other method: ", () => {
  const owner = { tenant_id: "acme", run_id: RUN };
  let sentinel: QuietSentinel;
  beforeEach(async () => {
    sentinel = await QuietSentinel.open(join(folder, "scram"));
  });
  afterEach(() => {
    sentinel.close();
  });
  const objects: readonly [string, () => unknown][] = [
    ["a writer of a stream", () => writerOf()],
    ["the head of a stream", () => writerOf({ count: 0, hash: EMPTY_STREAM.hash }).head],
    ["an empty stream", () => EMPTY_STREAM],
    ["a recorder", () => recorderOf()],
    ["a kernel", () => world.kernel()],
    ["a run's session", async () => (await buildRun(world, { store })).session],
    ["a key log", () => world.keyLog],
    ["a replay of a key log", () => new KeyLogReplay(`ins_${"a".repeat(20)}`)],
    ["a table of keys", () => world.keyLog.current()],
    ["a keystore", () => world.keystore],
    ["an authority", () => world.authority],
    ["a policy's engine", () => world.policy],
    ["a run's trace", () => new RunTrace()],
    ["a clock", () => api.systemClock],
    ["randomness", () => api.systemEntropy],
    ["a latch", () => new api.ScramLatch(folder)],
    ["a journal", () => Journal.open(join(folder, "journal.jsonl"))],
    ["a member of the kill switch", () => new api.ScramMember(sentinel.link, owner)],
    ["a sandbox", () => api.connectSandbox(sentinel.link, owner)],
    ["a connection to the sentinel", () => sentinel.link],
    ["an agent's session", () => new AgentSession({} as never, "r", new Map(), nothing as never)],
    ["an installation's tokens", () => new ApiTokens({} as never)],
    ["an installation's queue", () => new StoredQueue({} as never)],
    ["a registry of models", () => registryOf()],
  ];
  it.each(objects)("%s", async (_name, make) => {
    expect(replaced((await make()) as object)).toEqual([]);
  });

  it("nor do the lines of a journal", () => {
    const journal = Journal.open(join(folder, "journal.jsonl"));
    journal.append("sentinel.started", "2026-01-01T00:00:00.000Z", {});
    for (const one of [journal.lines, journal.lines[0]]) expect(Object.isFrozen(one)).toBe(true);
    expect(() => (journal.lines as unknown[]).push({})).toThrow(TypeError);
    journal.append("sentinel.stopped", "2026-01-01T00:00:00.000Z", {});
    expect(journal.lines.map(({ event }) => event)).toEqual([
      "sentinel.started",
      "sentinel.stopped",
    ]);
  });

  function registryOf(): object {
    const { clock } = world;
    return createModelRegistry({ folder, clock, entropy: api.systemEntropy });
  }
});

describe("what a program gave, and changes later, hides nothing", () => {
  it("a recorder's options, its writer, and the writer's port", async () => {
    const { clock } = world;
    const commit = store.commit.bind(store);
    const port = { commit };
    const writer = new StreamWriter(port, "acme", RUN, EMPTY_STREAM);
    const hidden = writerOf();
    const options = {
      runId: RUN,
      tenantId: "acme",
      writer,
      clock: { ...timeOf(clock) },
      epoch: null,
    };
    const recorder = new RunRecorder(options);
    const kernel = world.kernel({ recorder });
    port.commit = () => Promise.resolve({ status: "committed", firstIndex: 7 });
    Object.assign(options, { writer: hidden, runId: "run_x", tenantId: "other", epoch: 9 });
    options.clock.now = () => new Date(0);
    const asked = { ...(await requestFor(world, TRAIN)), context: world.context({ run_id: RUN }) };
    expect(await kernel.execute(asked)).toMatchObject({ status: "COMPLETED", entryIndex: 1 });
    const rows = store.logs.get("acme") ?? [];
    const entries = rows.map(({ bytes }) => Buffer.from(bytes).toString());
    expect(entries.map((text) => /"event_type":"([^"]+)"/.exec(text)?.[1])).toEqual([
      "execution.authorized",
      "execution.completed",
    ]);
    for (const text of entries) expect(text).toContain('"timestamp":"2026-01-01T00:00:00.000Z"');
  });

  it("the head that a writer began at", async () => {
    const head = { count: 0, hash: EMPTY_STREAM.hash };
    const writer = writerOf(head);
    head.count = 5;
    const fields = { tenantId: "acme", runId: RUN, timestamp: "2026-01-01T00:00:00.000Z" };
    const entry = { ...fields, eventType: "x.noted", severity: "INFO", data: {} } as const;
    expect(await writer.append(entry)).toMatchObject({ status: "committed" });
    expect(replaced(writer.head)).toEqual([]);
  });

  it("a key log's store and clock", async () => {
    const log = { read: world.log.read.bind(world.log), append: world.log.append.bind(world.log) };
    const clock = timeOf(world.clock);
    const keyLog = new api.KeyLog(log, `ins_${"a".repeat(20)}`, clock);
    log.read = () => Promise.resolve([]);
    clock.now = () => new Date(0);
    await keyLog.refresh();
    expect(keyLog.current().count).toBe(world.keyLog.current().count);
    const rotated = world.keyIdOf("role", "trainer");
    await keyLog.rotate(world.keystore, rotated, "yearly");
    expect(keyLog.current().count).toBe(world.keyLog.current().count + 1);
  });
});

function timeOf(clock: World["clock"]): { now: () => Date; monotonicMs: () => number } {
  return { now: clock.now.bind(clock), monotonicMs: clock.monotonicMs.bind(clock) };
}

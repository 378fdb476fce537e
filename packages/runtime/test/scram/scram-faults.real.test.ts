import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/home/config.ts";
import { programCommand } from "../../src/home/sentinel-process.ts";
import { connectSandbox } from "../../src/sandbox/index.ts";
import { systemClock } from "../../src/system/index.ts";
import { Frames, readFrame } from "../../src/scram/frames.ts";
import { Journal, ScramLatch, ScramLink } from "../../src/scram/index.ts";
import { findOurs } from "../../src/scram/termination.ts";
import { SENTINEL_SOCKET } from "../../src/scram/protocol.ts";
import { BACK_ENDS, requireInstalled } from "../support/back-ends.ts";
import {
  children,
  ENVIRONMENT,
  killEngine,
  OWNER,
  pidsOf,
  quiet,
  rig,
  soonDead,
  stateOf,
  trivial,
} from "../support/scram-rig.ts";
import { canFreeze, Freezer } from "../support/freezer.ts";

describe.each(BACK_ENDS)("when a part dies, what ran in $title dies", ({ backend, absent }) => {
  beforeEach(() => {
    requireInstalled(absent);
  });

  it("the engine: its paths die, and the system is tripped", async () => {
    const one = await rig();
    await one.hold(5, OWNER, { backend });
    killEngine(await pidsOf(one.link), "SIGKILL");
    expect(await soonDead(one)).toBe(0);
    for (let waited = 0; waited < 3000 && (await stateOf(one)) !== "COMPLETE"; waited += 50) {
      await sleep(50);
    }
    const status = new ScramLatch(join(one.home, "scram")).status();
    if (status.state !== "TRIPPED") throw new Error("the engine's end tripped nothing");
    // One stop for the engine, and one for each path that a slow machine does not let die in time.
    const reasons = new Set(status.stops?.map(({ reason }) => reason));
    expect([...reasons]).toEqual(["system_critical"]);
  });

  it.each(["idle", "wedged"])(
    "the sentinel, with an %s engine: all dies, and nothing runs",
    async (manner) => {
      const one = await rig();
      await one.hold(5, OWNER, { backend });
      const { pid, engine } = await pidsOf(one.link);
      if (manner === "wedged") killEngine({ engine }, "SIGSTOP");
      process.kill(pid, "SIGKILL");
      expect(await soonDead(one)).toBe(0);
      for (let waited = 0; waited < 2000 && one.link.alive; waited += 5) await sleep(5);
      expect(one.link.preflight(OWNER)).toMatchObject({ code: "ERR_SCRAM_SENTINEL_LOST" });
      const late = connectSandbox(one.link, OWNER, { backend }).run(trivial("true"), quiet);
      await expect(late).rejects.toMatchObject({ code: "ERR_SCRAM_SENTINEL_LOST" });
      if ((await stateOf(one)) === "ARMED") return;
      // Nobody gave an order: a path that a slow machine does not let die in time stops everything.
      const status = new ScramLatch(join(one.home, "scram")).status();
      const stops = status.state === "TRIPPED" ? status.stops : null;
      expect(new Set(stops?.map(({ reason }) => reason))).toEqual(new Set(["system_critical"]));
    },
  );

  it("the sentinel and the dead-man together", async () => {
    const one = await rig();
    await one.hold(5, OWNER, { backend });
    const { pid, dead_man } = await pidsOf(one.link);
    process.kill(dead_man, "SIGKILL");
    process.kill(pid, "SIGKILL");
    expect(await soonDead(one)).toBe(0);
  });

  it("an order: they die, and so do their namespaces' keepers", async () => {
    const one = await rig();
    await one.hold(5, OWNER, { backend });
    const { event, body } = await one.stop();
    expect(event).toMatchObject({ scram_state: "COMPLETE" });
    expect(body.paths).toHaveLength(5);
    expect(body.stragglers).toEqual([]);
    expect(one.survivors()).toBe(0);
    expect(findOurs({ name: one.link.name, paths: [], everything: true })).toEqual([]);
  });
});

describe("when a part of the kill switch dies", () => {
  it("an idle engine: another takes its place", async () => {
    const one = await rig();
    await connectSandbox(one.link, OWNER).run(trivial("true"), quiet);
    killEngine(await pidsOf(one.link), "SIGKILL");
    await sleep(100);
    const end = await connectSandbox(one.link, OWNER).run(trivial("exit 5"), quiet);
    expect(end.exitCode).toBe(5);
    expect(await stateOf(one)).toBe("ARMED");
  });

  it("the dead-man alone: another takes its place", async () => {
    const one = await rig();
    const before = await pidsOf(one.link);
    process.kill(before.dead_man, "SIGKILL");
    await sleep(200);
    const after = await pidsOf(one.link);
    expect(after.dead_man).not.toBe(before.dead_man);
    expect(after.pid).toBe(before.pid);
    await one.hold(2);
    process.kill(after.pid, "SIGKILL");
    expect(await soonDead(one)).toBe(0);
  });

  it("a sentinel that is silent, with nobody to end it: nothing begins", async () => {
    const one = await rig();
    const { pid, dead_man } = await pidsOf(one.link);
    process.kill(dead_man, "SIGSTOP");
    process.kill(pid, "SIGSTOP");
    try {
      for (let waited = 0; waited < 5000 && one.link.preflight(OWNER).armed; waited += 50) {
        await sleep(50);
      }
      expect(one.link.preflight(OWNER)).toMatchObject({ code: "ERR_SCRAM_SENTINEL_LOST" });
    } finally {
      process.kill(dead_man, "SIGKILL");
      process.kill(pid, "SIGKILL");
    }
  });

  it("a control: its paths die, and the others' do not", async () => {
    const one = await rig();
    await one.hold(2);
    const mark = `${one.mark}-other`;
    const program = resolve(import.meta.dirname, "../support/hold-paths.ts");
    const child = spawn(process.execPath, [program, one.home, mark], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    await new Promise((held) => child.stdout.once("data", held));
    expect(one.survivors(mark)).toBeGreaterThan(1);
    child.kill("SIGKILL");
    for (let waited = 0; waited < 1000 && one.survivors(mark) > 0; waited += 5) await sleep(5);
    expect(one.survivors(mark)).toBe(0);
    await expect.poll(() => one.link.request({ t: "status" })).toMatchObject({ paths: 2 });
    expect(one.survivors()).toBeGreaterThan(1);
    expect(await stateOf(one)).toBe("ARMED");
  });
});

describe.runIf(canFreeze)("a process that no signal reaches", () => {
  it("is thawed where a freezer holds it, and dies", async () => {
    const one = await rig();
    await one.hold(3);
    const freezer = new Freezer();
    try {
      expect(freezer.freeze(one.mark).length).toBeGreaterThan(0);
      const { event, body } = await one.stop();
      expect(body.stragglers).toEqual([]);
      expect(event.scram_state).toBe("COMPLETE");
      expect(one.survivors()).toBe(0);
    } finally {
      freezer.close();
    }
  });

  it("is named and never called dead, and the stop is FAILED until it is gone", async () => {
    const one = await rig();
    await one.hold(3);
    const freezer = new Freezer();
    try {
      expect(freezer.freeze(one.mark).length).toBeGreaterThan(0);
      freezer.hold();
      const { event, body } = await one.stop();
      expect(event.scram_state).toBe("FAILED");
      expect(event.invariants_failed).toEqual(["INV-SCRAM-001", "INV-SCRAM-003", "INV-SCRAM-005"]);
      expect(body.t_reaped_ms).toBeNull();
      expect(body.stragglers.map(({ state }) => state)).toContain("D");
      await expect(one.reset()).rejects.toMatchObject({ code: "ERR_SCRAM_RESET_REFUSED" });
    } finally {
      freezer.close();
    }
    expect(await soonDead(one)).toBe(0);
    // What was frozen is the last to leave its namespace; until then a reset is refused.
    await expect
      .poll(() => one.reset().catch((error: unknown) => error), { timeout: 5000 })
      .toMatchObject({ state: "ARMED" });
  });
});

describe("when in doubt, it stops", () => {
  it("a latch that cannot be read stops everything, and both may reset it", async () => {
    const one = await rig();
    await connectSandbox(one.link, OWNER).run(trivial("true"), quiet);
    writeFileSync(join(one.home, "scram", "LATCH"), "scribble", { mode: 0o600 });
    expect(one.link.preflight(OWNER)).toMatchObject({ armed: false, code: "ERR_SCRAM_TRIPPED" });
    const refused = connectSandbox(one.link, OWNER).run(trivial("true"), quiet);
    await expect(refused).rejects.toMatchObject({ code: "ERR_SCRAM_TRIPPED" });
    for (let waited = 0; waited < 5000 && (await pidsOf(one.link)).engine !== null; waited += 50) {
      await sleep(50);
    }
    for (let waited = 0; waited < 5000 && (await stateOf(one)) === "EXECUTING"; waited += 50) {
      await sleep(50);
    }
    expect((await pidsOf(one.link)).engine).toBeNull();
    expect(await stateOf(one)).toBe("FAILED");
    expect(await one.reset()).toMatchObject({ state: "ARMED" });
  });

  it("a journal that was edited keeps the sentinel from starting", async () => {
    const one = await rig();
    await one.stop();
    process.kill((await pidsOf(one.link)).pid, "SIGKILL");
    const path = join(one.home, "scram", "journal.jsonl");
    writeFileSync(path, readFileSync(path, "utf8").replace('"unclean":false', '"unclean":true'));
    expect(() => Journal.open(path)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_JOURNAL_INVALID" }),
    );
    const [command, ...args] = programCommand("sentinel");
    await sleep(50);
    const end = spawnSync(command, [...args, one.home], { env: ENVIRONMENT, encoding: "utf8" });
    expect(end.status).toBe(1);
    expect(end.stderr).toContain("ERR_SCRAM_JOURNAL_INVALID");
  });

  it("no sentinel means no connection, and so no work", async () => {
    const one = await rig();
    process.kill((await pidsOf(one.link)).pid, "SIGKILL");
    const folder = join(one.home, "scram");
    const start = (): null => null;
    const none = ScramLink.connect({
      folder,
      clock: systemClock,
      start,
      patienceMs: 300,
    });
    await expect(none).rejects.toMatchObject({ code: "ERR_SCRAM_SENTINEL_START" });
  });

  it("the sentinel stays for whoever is connected, whatever they have yet to say", async () => {
    const one = await rig();
    const { pid } = await pidsOf(one.link);
    const socket = connect(join(one.home, "scram", SENTINEL_SOCKET));
    await once(socket, "connect");
    await pidsOf(one.link);
    one.link.close();
    await sleep(2500);
    const answered = new Promise<unknown>((answer) => {
      const frames = new Frames(socket, (_, content) => {
        answer(readFrame(content));
      });
      frames.sendJson({ t: "status", id: 1 });
    });
    expect(await answered).toMatchObject({ result: { pid, state: "ARMED" } });
    process.kill(pid, "SIGTERM");
    await once(socket, "close");
  });

  it("an armed switch has nothing to reset", async () => {
    const one = await rig();
    await expect(one.reset()).rejects.toMatchObject({ code: "ERR_SCRAM_NOT_TRIPPED" });
  });

  it("a cancel does not wait for a wedged engine", async () => {
    const one = await rig();
    const controller = new AbortController();
    const script = "trap '' TERM; while :; do sleep 100; done";
    const running = connectSandbox(one.link, OWNER).run(trivial(script), controller.signal);
    while (((await one.link.request({ t: "status" })) as { paths: number }).paths === 0) {
      await sleep(10);
    }
    const { engine } = await pidsOf(one.link);
    killEngine({ engine }, "SIGSTOP");
    controller.abort();
    // Whichever comes first: the engine's silence is noticed, and trips.
    await expect(running).rejects.toMatchObject({
      code: expect.stringMatching(/ERR_SANDBOX_ENGINE_LOST|ERR_SCRAM_TRIPPED/) as string,
    });
  });

  it("a weakened configuration weakens nothing: it starts by the law, and no work begins", async () => {
    const one = await rig();
    process.kill((await pidsOf(one.link)).pid, "SIGKILL");
    writeFileSync(join(one.home, "config.yaml"), "scram:\n  require_dual_key: false\n");
    const [command, ...args] = programCommand("sentinel");
    const end = spawnSync(command, [...args, one.home], { env: ENVIRONMENT, encoding: "utf8" });
    // It left by itself, as any does to whom nobody connects.
    expect(end.status).toBe(0);
    expect(end.stderr).toContain("The settings of the law hold; no work begins");
    expect(() => loadConfig(one.home)).toThrow(
      expect.objectContaining({ code: "ERR_SCRAM_CONFIG" }),
    );
  });
});

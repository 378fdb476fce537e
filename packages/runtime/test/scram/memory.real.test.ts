import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { JsonValue } from "@sovereign/core";
import { connectScram } from "../../src/home/index.ts";
import type { DrillRig } from "../../src/services/index.ts";
import { programCommand } from "../../src/home/sentinel-process.ts";
import { stopByCall } from "../../src/services/scram/stop-by-call.ts";
import { identify, isAlive, lockFolder } from "../../src/process/index.ts";
import { Journal, offlineStatus, ScramLatch } from "../../src/scram/index.ts";
import { ENVIRONMENT, OWNER, pidsOf, rig, stateOf } from "../support/scram-rig.ts";

const folderOf = (one: DrillRig): string => join(one.home, "scram");
const journalOf = (one: DrillRig): string => join(folderOf(one), "journal.jsonl");

async function killSentinel(one: DrillRig): Promise<void> {
  const sentinel = identify((await pidsOf(one.link)).pid);
  if (sentinel === null) return;
  process.kill(sentinel.pid, "SIGKILL");
  while (isAlive(sentinel)) await sleep(5);
}

describe("a stop is remembered whatever becomes of the latch", () => {
  it("when the latch is removed after the sentinel was killed, and that is recorded", async () => {
    const one = await rig();
    const { event } = await one.stop();
    await killSentinel(one);
    rmSync(join(folderOf(one), "LATCH"));
    expect(offlineStatus(folderOf(one))).toMatchObject({
      state: "COMPLETE",
      stops: [{ event_id: event.event_id, scope: { kind: "all" } }],
    });
    expect(await stateOf(one)).toBe("COMPLETE");
    expect(new ScramLatch(folderOf(one)).preflight(OWNER).armed).toBe(false);
    const restored = Journal.open(journalOf(one)).lines.find(
      (line) => line.event === "latch.restored",
    );
    expect(restored?.data).toEqual({ event_ids: [event.event_id] });
    expect(await one.reset()).toMatchObject({ state: "ARMED" });
  });

  it("when the latch is removed, or made narrower, under a living sentinel", async () => {
    const one = await rig();
    const { event } = await one.stop();
    const path = join(folderOf(one), "LATCH");
    const whole = readFileSync(path, "utf8");
    rmSync(path);
    await expect.poll(() => offlineStatus(folderOf(one)).stops).toHaveLength(1);
    const narrow = whole.replace('{"kind":"all"}', '{"kind":"tenant","tenant_id":"nobody"}');
    writeFileSync(path, narrow.replace(event.event_id, `SCRAM-${"7".repeat(20)}`));
    await expect
      .poll(() => new ScramLatch(folderOf(one)).preflight(OWNER).armed, { timeout: 3000 })
      .toBe(false);
  });

  it("when latch and record of it are gone, because the proof is older than both", async () => {
    const one = await rig();
    await one.stop();
    await killSentinel(one);
    rmSync(join(folderOf(one), "LATCH"));
    const lines = readFileSync(journalOf(one), "utf8").split("\n");
    const before = lines.findIndex((line) => line.includes('"scram.activated"'));
    writeFileSync(journalOf(one), `${lines.slice(0, before).join("\n")}\n`);
    expect(offlineStatus(folderOf(one))).toMatchObject({ state: "FAILED" });
    expect(await stateOf(one)).not.toBe("ARMED");
    expect(await one.reset()).toMatchObject({ state: "ARMED" });
  });

  it.each([
    ["journal and latch", ["journal.jsonl", "LATCH"]],
    ["journal, latch and proof", ["journal.jsonl", "LATCH", "SETTLED"]],
    ["latch and proof of a stop that was not recorded", ["SETTLED"]],
  ])("when %s are removed", async (_, names) => {
    const one = await rig();
    if (names.includes("LATCH")) await one.stop();
    await killSentinel(one);
    for (const name of names) rmSync(join(folderOf(one), name));
    expect(offlineStatus(folderOf(one))).toMatchObject({ state: "FAILED" });
    expect(await stateOf(one)).not.toBe("ARMED");
    expect(await one.reset()).toMatchObject({ state: "ARMED" });
    expect(await stateOf(one)).toBe("ARMED");
  });

  it("and a sentinel that is killed without a stop goes on armed", async () => {
    const one = await rig();
    await killSentinel(one);
    expect(offlineStatus(folderOf(one))).toMatchObject({ state: "ARMED", trouble: null });
    expect(await stateOf(one)).toBe("ARMED");
  });
});

describe("one data folder has one sentinel", () => {
  it("in another network namespace a second one ends, and the journal stays whole", async () => {
    const one = await rig();
    const [command, ...args] = programCommand("sentinel");
    const words = ["--user", "--map-current-user", "--net", command, ...args, one.home];
    const second = spawnSync("unshare", words, { env: ENVIRONMENT, encoding: "utf8" });
    expect(second).toMatchObject({ status: 0, stderr: "" });
    const { lines } = Journal.open(journalOf(one));
    expect(lines.map(({ event }) => event)).toEqual(["sentinel.started"]);
    expect(await stateOf(one)).toBe("ARMED");
  });

  it("another hand in the journal stops everything, and destroys nothing", async () => {
    const one = await rig();
    const other = Journal.open(journalOf(one));
    other.append("order.refused", "2026-06-01T12:00:00.000Z", { code: "X", reason: "another" });
    await expect.poll(() => stateOf(one), { timeout: 10_000 }).not.toMatch(/ARMED|EXECUTING/);
    const events = Journal.open(journalOf(one)).lines.map(({ event }) => event);
    expect(events.slice(0, 2)).toEqual(["sentinel.started", "order.refused"]);
    expect(events).toContain("scram.executed");
    expect(await one.reset()).toMatchObject({ state: "ARMED" });
  });
});

describe("a stop where no sentinel runs", () => {
  it("is in force before one is started, and carried out by it before all else", async () => {
    const one = await rig();
    await killSentinel(one);
    const outcome = await stopByCall(one.home, ENVIRONMENT, one.order());
    expect(outcome).toMatchObject({
      kind: "stopped",
      event: { scram_state: "COMPLETE" },
      receipt: { authorized: true, trigger: "order" },
    });
    expect(await stateOf(one)).toBe("COMPLETE");
    expect(await one.reset()).toMatchObject({ state: "ARMED" });
  });

  it("is in force where none can be started, and the error says so", async () => {
    const one = await rig();
    await killSentinel(one);
    // The kernel gives the lock back when all of the sentinel is gone, which takes its moment.
    let lock = lockFolder(folderOf(one), process.env["PATH"] ?? "");
    while (lock.kind !== "taken") {
      await sleep(20);
      lock = lockFolder(folderOf(one), process.env["PATH"] ?? "");
    }
    const stopping = stopByCall(one.home, ENVIRONMENT, one.order());
    await expect.poll(() => offlineStatus(folderOf(one)).state).toBe("EXECUTING");
    await expect(stopping).rejects.toThrow("Everything is stopped, and that is durable");
    expect(new ScramLatch(folderOf(one)).preflight(OWNER).armed).toBe(false);
    closeSync(lock.descriptor);
  });
});

describe("whatever stands in the kill switch's folder", () => {
  it("neither keeps a sentinel from starting, nor a stop or a reset from working", async () => {
    const one = await rig();
    await killSentinel(one);
    const names = ["engine.log", "sentinel.sock", "SETTLED", "LATCH.spare", "LATCH.spare-2"];
    for (const [at, name] of [...names, "envelopes", "lock", "call.5"].entries()) {
      const path = join(folderOf(one), name);
      rmSync(path, { recursive: true, force: true });
      if (at % 3 === 0) execFileSync("mkfifo", [path]);
      else if (at % 3 === 1) mkdirSync(path);
      else symlinkSync("/nowhere", path);
    }
    expect(offlineStatus(folderOf(one)).state).toBe("FAILED");
    // Nothing proves that no stop was lost, so everything is stopped, and a further stop works.
    expect(await stateOf(one)).not.toBe("ARMED");
    const link = await connectScram(one.home, ENVIRONMENT);
    const envelope = one.order() as unknown as JsonValue;
    expect(await link.request({ t: "order", envelope })).toMatchObject({
      event: { scram_state: "COMPLETE" },
    });
    link.close();
    expect(await one.reset()).toMatchObject({ state: "ARMED" });
    expect(await stateOf(one)).toBe("ARMED");
  });
});

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { DrillRig } from "../../src/main/index.ts";
import { identify, isAlive } from "../../src/process/index.ts";
import { Journal, offlineStatus, ScramLatch } from "../../src/scram/index.ts";
import { OWNER, pidsOf, rig, stateOf } from "../support/scram-rig.ts";

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

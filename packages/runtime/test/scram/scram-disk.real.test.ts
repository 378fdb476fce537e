import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { DrillRig } from "../../src/services/index.ts";
import { Journal, offlineStatus, openEvents, ScramLatch } from "../../src/scram/index.ts";
import { ENVIRONMENT, pidsOf, stateOf } from "../support/scram-rig.ts";
import { SmallDisk } from "../support/small-disk.ts";

const disk = SmallDisk.mount(64);
afterAll(() => {
  disk?.unmount();
});

describe.skipIf(disk === null)("a stop on a full disk (needs root, to mount a small one)", () => {
  it("kills all the same, holds, and says that it could not be recorded", async () => {
    const one = await DrillRig.open(ENVIRONMENT, disk?.path);
    try {
      await one.hold(3);
      disk?.fill(0);
      const { event, body } = await one.stop();
      expect(one.survivors()).toBe(0);
      expect(body.t_reaped_ms).not.toBeNull();
      expect(event.scram_state).toBe("FAILED");
      expect(event.invariants_failed).toContain("INV-SCRAM-004");
      const folder = join(one.home, "scram");
      expect(new ScramLatch(folder).status()).toMatchObject({
        state: "TRIPPED",
        stops: [{ event_id: event.event_id }],
      });
      expect(existsSync(join(folder, "LATCH.spare"))).toBe(false);
      disk?.empty();
      // The next sentinel finds a stop without a record, and records that.
      process.kill((await pidsOf(one.link)).pid, "SIGKILL");
      await sleep(100);
      expect(await stateOf(one)).toBe("FAILED");
      const recorded = openEvents(Journal.open(join(folder, "journal.jsonl")).lines);
      expect(recorded.map(({ event_id }) => event_id)).toEqual([event.event_id]);
      expect(await one.reset()).toMatchObject({ state: "ARMED" });
    } finally {
      disk?.empty();
      await one.close();
    }
  });

  it("is remembered however often it is given, and the script hears that all is dead", async () => {
    const one = await DrillRig.open(ENVIRONMENT, disk?.path);
    try {
      await one.hold(2);
      disk?.fill(0);
      const command = resolve("packages/runtime/bin/scram");
      const env = { PATH: process.env["PATH"], SOVEREIGN_HOME: one.home };
      const end = spawnSync("/bin/sh", [command], { env, encoding: "utf8" });
      expect(end).toMatchObject({ status: 0 });
      expect(end.stdout).toContain("verified dead after");
      await one.stop();
      await one.stop();
      const folder = join(one.home, "scram");
      for (const name of readdirSync(folder)) if (/^LATCH/.test(name)) rmSync(join(folder, name));
      process.kill((await pidsOf(one.link)).pid, "SIGKILL");
      await sleep(100);
      // Neither latch nor record is left: what is missing says that there was a stop.
      expect(offlineStatus(folder).state).toBe("FAILED");
      disk?.empty();
      expect(await stateOf(one)).not.toBe("ARMED");
      expect(await one.reset()).toMatchObject({ state: "ARMED" });
    } finally {
      disk?.empty();
      await one.close();
    }
  });
});

import { rmSync } from "node:fs";
import { INSTALLATION_LOG, openCheckpoint } from "@sovereign/core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { KeyLog } from "../../../src/authority/index.ts";
import { LedgerKeyLog } from "../../../src/installation/ledger-key-log.ts";
import { publishedAt, publishSealed } from "../../../src/services/runs/seal-run.ts";
import { systemClock } from "../../../src/system/index.ts";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
beforeAll(async () => {
  rig = await openGoalRig();
});
afterAll(async () => {
  await rig.close();
});

it("a process that read the keys long ago signs no head by a key that was replaced", async () => {
  const { store, id, keystore } = rig.installation;
  const { runId } = await rig.runGoal(null);
  rmSync(publishedAt(rig.installation, runId).bundle);
  const keyLog = new KeyLog(new LedgerKeyLog(store, systemClock), id, systemClock);
  const keys = await keyLog.refresh();
  const at = systemClock.now().toISOString();
  const old = keys.valid("checkpoint", null, keys.count, at)[0]?.record.key_id ?? "";
  const made = await keyLog.rotate(keystore, old, "yearly");
  const row = await store.findRun("acme", runId);
  if (row === null) throw new Error("the run is gone");
  await publishSealed({ installation: rig.installation, tenantId: "acme" }, row);
  let size = 0;
  for await (const { index } of store.readLog(INSTALLATION_LOG)) size = index + 1;
  const head = await store.checkpointCovering(INSTALLATION_LOG, size);
  const key = keyLog.current().get(made.key_id)?.key;
  if (head === null || key === undefined) throw new Error("nothing was signed");
  const origin = rig.installation.origin(INSTALLATION_LOG);
  expect(openCheckpoint(head.note, origin, [key]).checkpoint.size).toBe(size);
});

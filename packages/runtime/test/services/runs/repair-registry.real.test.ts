import { sha256Hex, utf8Encode } from "@sovereign/core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readRun } from "../../../src/ledger/index.ts";
import { createModelRegistry, type ModelRegistry } from "../../../src/pipeline/index.ts";
import { openModels, repairRegistry } from "../../../src/services/runs/repair-registry.ts";
import { systemClock, systemEntropy } from "../../../src/system/index.ts";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";
import { runItem } from "../../support/tenant-world.ts";

let rig: GoalRig;
let registry: ModelRegistry;
beforeAll(async () => {
  rig = await openGoalRig();
  const folder = rig.installation.folder.registry;
  registry = createModelRegistry({ folder, clock: systemClock, entropy: systemEntropy });
});
afterAll(async () => {
  await rig.close();
});

/** A switch as a run made it that was killed before it could record it. */
async function promote(runId: string, text: string): Promise<string> {
  const bytes = utf8Encode(text);
  const digest = sha256Hex(bytes);
  const current = await registry.current("penguins");
  await registry.promote({
    ...{ model: "penguins", runId, idempotencyKey: `key-${text}`, digest, bytes },
    expectedCurrent: current?.digest ?? null,
  });
  return digest;
}

async function repairs(): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const { entry } of readRun(rig.installation.store, "installation", "ledger")) {
    if (entry.event_type === "ledger.repaired") found.push(entry.data);
  }
  return found;
}

it("takes back what an ended run switched and did not record, and says so in the ledger", async () => {
  const { runId } = await rig.runGoal(null);
  const { models } = openModels(rig.installation, "acme");
  expect(await repairRegistry(rig.installation, "acme")).toEqual([]);
  const digest = await promote(runId, "one");
  await expect(models.current("penguins")).rejects.toThrow(
    "type: sovereign repair registry --tenant acme",
  );
  // Nobody else's ledger says anything of it.
  expect(await repairRegistry(rig.installation, "globex")).toEqual([]);
  const found = `model penguins: switch 1 of ${runId} to ${digest}, which ended and did not record it`;
  const finding = { log: "acme", kind: "switch", place: 1, found, done: "set aside" };
  expect(await repairRegistry(rig.installation, "acme")).toEqual([finding]);
  expect(await repairs()).toEqual([{ changed: 1, findings: [finding] }]);
  expect(await models.current("penguins")).toBeNull();
  expect(await repairRegistry(rig.installation, "acme")).toEqual([]);
});

it("leaves them while a later one may yet be recorded", async () => {
  const { runId } = await rig.runGoal(null);
  await promote(runId, "two");
  const open = `run_${"w".repeat(20)}`;
  await rig.installation.store.commit(runItem("acme", open));
  await promote(open, "three");
  const findings = await repairRegistry(rig.installation, "acme");
  expect(findings.map(({ done, place }) => [place, done])).toEqual([
    [1, "left"],
    [2, "left"],
  ]);
  expect(findings[0]?.found).toContain(`end ${open} first`);
  expect(await registry.history("penguins")).toHaveLength(2);
});

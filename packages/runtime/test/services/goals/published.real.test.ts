import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
const seen: unknown[] = [];
beforeAll(async () => {
  rig = await openGoalRig({
    between: (store) => ({
      sealCheckpoint: async (...given) => {
        const sealed = await store.sealCheckpoint(...given);
        await look();
        return sealed;
      },
    }),
  });
});
afterAll(() => rig.close());

async function look(): Promise<void> {
  const [row] = await rig.services.listRuns("acme", { limit: 1, status: null, kind: null });
  const { published, status } = await rig.services.showRun("acme", row?.runId ?? "");
  const bundle = join(rig.home, "runs", row?.runId ?? "", "compliance_bundle.json");
  seen.push({ status, published, isThere: existsSync(bundle) });
}

describe("a run that is sealed", () => {
  it("is published once its bundle is there, and not before", async () => {
    await rig.runGoal(null);
    await look();
    // The heads of the tenant's log and of the installation's are signed, and then the bundle is made.
    expect(seen).toEqual([
      { status: "completed", published: false, isThere: false },
      { status: "completed", published: false, isThere: false },
      { status: "completed", published: true, isThere: true },
    ]);
  });
});

import { describe, expect, it } from "vitest";
import { refuseOtherPolicy } from "../../../src/services/runs/same-policy.ts";
import { EvidenceWorld, RUN } from "../../support/evidence.ts";

describe("a run that is resumed", () => {
  it("goes on under the policy that it was admitted with, and under no other", async () => {
    const { store, world } = await EvidenceWorld.create();
    await refuseOtherPolicy(store, "acme", RUN, world.policy.policyDigest);
    await expect(refuseOtherPolicy(store, "acme", RUN, "0".repeat(64))).rejects.toMatchObject({
      code: "ERR_RUN_DIVERGED",
    });
    world.dispose();
  });
});

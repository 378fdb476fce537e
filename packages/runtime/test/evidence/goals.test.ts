import type { JsonObject } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import type { RunSession } from "../../src/runs/index.ts";
import { awayFor } from "../support/away.ts";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import type { MemoryStore } from "../support/memory-store.ts";
import { TRAIN } from "../support/world.ts";

const PLAN: JsonObject = { kind: "goal", steps: [{ id: "extra", skill: "model.train" }] };

/** For a moment there is no database: the step ran, and its end cannot be recorded. */
async function loseTheEnd(session: RunSession, store: MemoryStore): Promise<void> {
  awayFor(store, "execution.completed");
  const asked = session.perform({ stepId: "extra", role: "trainer", action: TRAIN });
  await expect(asked).rejects.toThrow("UNAVAILABLE");
}

describe("goals in evidence", () => {
  it("are VALID where the end of a step could not be recorded for a moment", async () => {
    const made = await EvidenceWorld.create(
      "sovereign",
      RUN,
      0,
      async (session, world, store) => {
        const usage = { wall_ms: 1, output_bytes: 1 };
        world.result = { status: "completed", output: { value: 1 }, artifacts: [], usage };
        await loseTheEnd(session, store);
        await session.suspend("later");
        await session.resume("pending", false);
      },
      { plan: PLAN },
    );
    const bundle = await made.bundle();
    const events = bundle.entries
      .filter(({ entry }) => entry.data["step_id"] === "extra")
      .map(({ entry }) => entry.event_type);
    // The end is recorded as soon as it can be, and that it could not be after it.
    expect(events).toEqual(["execution.completed", "execution.unavailable"]);
    const ofStep = bundle.goal?.steps.filter(({ step_id }) => step_id === "extra");
    expect(ofStep?.map(({ status }) => status)).toEqual(["completed"]);
    expect(judge(bundle, made.trustRoot())).toMatchObject({ verdict: "VALID", failures: {} });
    made.dispose();
  });
});

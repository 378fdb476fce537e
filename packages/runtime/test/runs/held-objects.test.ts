import { digestOf } from "@sovereign/core";
import { expect, it } from "vitest";
import { EvidenceWorld, judge, RUN } from "../support/evidence.ts";
import { harm } from "../support/harm.ts";
import { TRAIN } from "../support/world.ts";

it("a run is what was admitted and asked for, whatever those who hold its parts do", async () => {
  const made = await EvidenceWorld.create("sovereign", RUN, 0, async (session, world) => {
    const usage = { wall_ms: 1, output_bytes: 0 };
    world.result = { status: "completed", output: null, artifacts: [], usage };
    expect(harm(session.plan)).toBe(0);
    harm(session.artifacts);
    const action = structuredClone(TRAIN);
    const step = { stepId: "again", role: "trainer", action };
    const asked = session.perform(step);
    harm(action);
    Object.assign(step, { stepId: "another", role: "deployer", action: { ...TRAIN, params: {} } });
    expect(await asked).toMatchObject({ status: "COMPLETED", actionDigest: digestOf(TRAIN) });
  });
  const bundle = await made.bundle();
  expect(judge(bundle, made.trustRoot())).toEqual({ verdict: "VALID", failures: {} });
  const last = bundle.entries.findLast(({ entry }) => entry.event_type === "execution.authorized");
  expect(last?.entry.data).toMatchObject({
    action: TRAIN,
    context: { step_id: "again", role: "trainer" },
  });
  made.dispose();
});

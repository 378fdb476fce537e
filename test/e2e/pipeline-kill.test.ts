import { afterAll, beforeAll, expect, it } from "vitest";
import { type Killed, PipelineKillRig } from "../../bench/pipeline-kill-rig.ts";

// Two random instants. More of them: PIPELINE_KILL_TRIALS=50 npm run bench pipeline-kill

const rig = new PipelineKillRig();
beforeAll(() => rig.open());
afterAll(() => rig.close());

it.each<Killed>(["run", "approve"])(
  "a pipeline whose %s is killed ends with registry, approvals and ledger in agreement",
  { timeout: 240_000 },
  async (killed) => {
    expect(await rig.kill(killed)).toMatchObject({ killed, wrong: [] });
  },
);

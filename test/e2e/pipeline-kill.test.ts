import { afterAll, beforeAll, expect, it } from "vitest";
import { type Killed, PipelineKillRig } from "../../bench/pipeline-kill-rig.ts";

// Two random instants. More of them: PIPELINE_KILL_TRIALS=50 npm run bench pipeline-kill

/** A bound on what hangs: the programs train models, on however busy a machine. */
const PATIENCE_MS = 900_000;
const rig = new PipelineKillRig();
beforeAll(() => rig.open(), PATIENCE_MS);
afterAll(() => rig.close());

it.each<Killed>(["run", "approve"])(
  "a pipeline whose %s is killed ends with registry, approvals and ledger in agreement",
  { timeout: PATIENCE_MS },
  async (killed) => {
    expect(await rig.kill(killed)).toMatchObject({ killed, wrong: [] });
  },
);

it.each([
  ["baseline_training", "execution.completed#2"],
  ["rollback", "execution.completed#10"],
])(
  "a pipeline that is killed between %s and its attestation signs it when it is gone on with",
  { timeout: PATIENCE_MS },
  async (step, entry) => {
    const left = "execution.completed";
    expect(await rig.killAtEntry(entry)).toMatchObject({ kills: 1, left, step, wrong: [] });
  },
);

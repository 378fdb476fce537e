import { type Killed, type PipelineKill, PipelineKillRig } from "./pipeline-kill-rig.ts";
import type { BenchReport } from "./report.ts";

const TRIALS = Number(process.env["PIPELINE_KILL_TRIALS"] ?? 50);
const KINDS: readonly Killed[] = ["run", "run", "approve", "run that waits"];

/** kill -9 at random instants of a pipeline: do registry, approvals and ledger agree afterwards? */
export async function run(): Promise<BenchReport> {
  const rig = new PipelineKillRig();
  await rig.open();
  const found: PipelineKill[] = [];
  try {
    for (let at = 0; at < TRIALS; at++) {
      const kill = await rig.kill(KINDS[at % KINDS.length] ?? "run");
      found.push(kill);
      const said = kill.wrong.length === 0 ? "ok" : `FAILED: ${kill.wrong.join("; ")}`;
      console.error(`${at + 1} ${kill.killed}, ${kill.kills} kills, left ${kill.left}: ${said}`);
    }
  } finally {
    await rig.close();
  }
  const rows = [...new Set(KINDS)].map((name) => {
    const own = found.filter(({ killed }) => killed === name);
    const left = Object.entries(Object.groupBy(own, (one) => one.left))
      .map(([event, all]) => `${event} ${all?.length ?? 0}`)
      .join(", ");
    const values = {
      trials: own.length,
      kills: own.reduce((sum, { kills }) => sum + kills, 0),
      failures: own.filter(({ wrong }) => wrong.length > 0).length,
      left,
    };
    return { name, values };
  });
  return { title: "Pipelines that are killed", rows };
}

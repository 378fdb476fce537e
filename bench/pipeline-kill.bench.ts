import {
  type Killed,
  type PipelineKill,
  PipelineKillRig,
  type PipelineStop,
} from "./pipeline-kill-rig.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const TRIALS = Number(process.env["PIPELINE_KILL_TRIALS"] ?? 50);
const KINDS: readonly Killed[] = ["run", "run", "approve", "run that waits"];

/** Stops amid a program that runs, half of them in each way. */
const STOPS = Number(process.env["PIPELINE_STOP_TRIALS"] ?? 40);
const WAYS = ["two keys", "bin/scram"] as const;
type Stop = PipelineStop & { readonly way: (typeof WAYS)[number] };

/** kill -9 at random instants of a pipeline: do registry, approvals and ledger agree afterwards? */
export async function run(): Promise<BenchReport> {
  const rig = new PipelineKillRig();
  await rig.open();
  const found: PipelineKill[] = [];
  const stops: Stop[] = [];
  try {
    for (let at = 0; at < TRIALS; at++) {
      const kill = await rig.kill(KINDS[at % KINDS.length] ?? "run");
      found.push(kill);
      const said = kill.wrong.length === 0 ? "ok" : `FAILED: ${kill.wrong.join("; ")}`;
      console.error(`${at + 1} ${kill.killed}, ${kill.kills} kills, left ${kill.left}: ${said}`);
    }
    for (let at = 0; at < STOPS; at++) {
      const way = WAYS[at % WAYS.length] ?? "two keys";
      const stop = await rig.stopAmid(way);
      stops.push({ way, ...stop });
      const said = stop.wrong.length === 0 ? "ok" : `FAILED: ${stop.wrong.join("; ")}`;
      console.error(
        `${at + 1} stop by ${way}, ${round(stop.tookMs)} ms, left ${stop.left}: ${said}`,
      );
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
  return { title: "Pipelines that are killed, or stopped", rows: [...rows, ...stopRows(stops)] };
}

function stopRows(stops: readonly Stop[]): BenchRow[] {
  return WAYS.map((way) => {
    const own = stops.filter((one) => one.way === way);
    const { p50, max } = quantiles(own.map(({ tookMs }) => tookMs));
    const failures = own.filter(({ wrong }) => wrong.length > 0).length;
    const left = Object.entries(Object.groupBy(own, (one) => one.left))
      .map(([event, all]) => `${event} ${all?.length ?? 0}`)
      .join(", ");
    const took = { "ms, p50": round(p50), "ms, most": round(max) };
    return { name: `a stop by ${way}`, values: { trials: own.length, failures, ...took, left } };
  }).filter(({ values }) => values.trials > 0);
}

import { type BenchRow, quantiles, round } from "./report.ts";
import { type RunsWorld, TENANTS } from "./runs-world.ts";

/** More of one tenant's at once are told to come again. */
const LANES = 4;
const WORKERS = 2;
/** One in so many calls a server from a sandbox, which takes ten times as long as the others. */
const CALLS = 10;

/**
 * Many runs of one step, a few at a time, by the same server and workers: what each part of them took,
 * and what the processes held by then.
 */
export async function longRuns(world: RunsWorld, runs: number, each: number): Promise<BenchRow[]> {
  await world.startWorkers(WORKERS);
  const rows: BenchRow[] = [];
  let [left, done, since] = [runs, 0, performance.now()];
  let took: number[] = [];
  const note = (ms: number): void => {
    took.push(ms);
    done += 1;
    if (took.length < each && done < runs) return;
    const now = performance.now();
    const { p50, p99, max } = quantiles(took);
    const { server, workers } = world.memory();
    const values = {
      "runs/s": round((took.length * 1000) / (now - since)),
      ...{ "p50 ms": round(p50), "p99 ms": round(p99), "max ms": round(max) },
      ...{ "server MiB": server, "workers MiB": workers },
    };
    rows.push({ name: `to run ${done}`, values });
    // It goes on for hours: whoever watches need not wait for the end.
    console.error(`to run ${done}: ${JSON.stringify(values)}`);
    [took, since] = [[], now];
  };
  const lane = async (at: number): Promise<void> => {
    const tenant = TENANTS[at % TENANTS.length] ?? "large";
    while (left-- > 0) {
      const began = performance.now();
      const calls = left % CALLS === 0;
      const run = await (calls ? world.submit(tenant, 1) : world.submitValue(tenant));
      note((await world.ended(run)) - began);
    }
  };
  await Promise.all(Array.from({ length: LANES * TENANTS.length }, (_, at) => lane(at)));
  await world.stopWorkers();
  return rows;
}

import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";
import { longRuns } from "./runs-long.ts";
import { RunsWorld } from "./runs-world.ts";

/** So many runs one after another, with a figure for each so many: what grows, grows in them. */
const LONG = Number(process.env["RUNS_LONG"] ?? 0);
const LONG_EACH = Number(process.env["RUNS_LONG_EACH"] ?? 1000);

/**
 * Runs of goals, from the request to the end: what the API takes, how soon a worker begins, how many
 * runs workers carry out, and what a tenant with few runs notices of one with many.
 * `npm run bench runs -- --runs=24 --backlog=200`. `RUNS_LONG=20000 npm run bench runs` carries out so many
 * runs instead, and prints a figure for each thousand.
 */
export async function run(): Promise<BenchReport> {
  const world = new RunsWorld();
  await world.open();
  try {
    if (LONG > 0) {
      const rows = await longRuns(world, LONG, LONG_EACH);
      return { title: `${LONG} runs of goals, and a figure for each ${LONG_EACH}`, rows };
    }
    const rows = [...(await api(world)), await firstStep(world)];
    for (const workers of [1, 2, 4]) rows.push(await throughput(world, workers));
    rows.push(...(await turns(world)), ...(await proofs(world)));
    return { title: "Runs of goals (milliseconds where nothing else is said)", rows };
  } finally {
    await world.close();
  }
}

async function api(world: RunsWorld): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  const known = await world.submit("large", 1);
  const status = async (): Promise<void> => {
    const { json } = await world.ask("large", "GET", `/v1/runs/${known}`);
    if (json["run_id"] !== known) throw new Error(`no run: ${JSON.stringify(json)}`);
  };
  const bare = await timed(200, 1, () => world.ask(null, "GET", "/healthz"));
  const submit = (): Promise<unknown> => world.submit("large", 1);
  for (const at of [1, 50])
    rows.push(row(`status, ${at} at once`, await timed(400, at, status), bare));
  // More of one tenant's at once are told to come again.
  for (const at of [1, 4])
    rows.push(row(`submit, ${at} at once`, await timed(40, at, submit), bare));
  await world.startWorkers(2);
  await world.drained();
  await world.stopWorkers();
  return rows;
}

/** From the request that submits to the request that the first step makes. */
async function firstStep(world: RunsWorld): Promise<BenchRow> {
  await world.startWorkers(1);
  const took: number[] = [];
  for (let trial = 0; trial < 22; trial++) {
    const began = performance.now();
    const run = await world.submit("small", 1);
    await world.asked(run);
    took.push(performance.now() - began);
    await world.drained();
  }
  await world.stopWorkers();
  return row("submit to first step", took.slice(2));
}

async function throughput(world: RunsWorld, workers: number): Promise<BenchRow> {
  const [runs, steps] = [argument("runs", 24), 5];
  for (let at = 0; at < runs; at++) await world.submit("large", steps);
  await world.startWorkers(workers);
  // The first run ends when all of them are warm.
  const [from] = await world.endings(1);
  const to = (await world.endings(runs)).at(-1);
  await world.stopWorkers();
  const perSecond = ((runs - 1) * 1000) / ((to ?? 0) - (from ?? 0));
  const values = { "runs/s": round(perSecond), "steps/s": round(perSecond * steps) };
  return { name: `${workers} worker${workers === 1 ? "" : "s"}, runs of ${steps} steps`, values };
}

/** How long a small tenant's ten runs take, alone and behind another's backlog. */
async function turns(world: RunsWorld): Promise<BenchRow[]> {
  const backlog = argument("backlog", 200);
  const ten = async (): Promise<number[]> => {
    const began = performance.now();
    const runs: string[] = [];
    for (let at = 0; at < 10; at++) runs.push(await world.submit("small", 1));
    const ends = await Promise.all(runs.map((run) => world.ended(run)));
    return ends.map((end) => end - began);
  };
  await world.startWorkers(2);
  const alone = await ten();
  await world.stopWorkers();
  for (let at = 0; at < backlog; at++) await world.submit("large", 1);
  await world.startWorkers(2);
  const beside = await ten();
  await world.stopWorkers();
  const ratio = round(quantiles(beside).p99 / quantiles(alone).p99);
  return [
    row("ten runs of a tenant, alone", alone),
    {
      name: `ten runs of a tenant beside ${backlog} of another`,
      values: { ...row("", beside).values, "p99 ratio": ratio },
    },
  ];
}

async function proofs(world: RunsWorld): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  await world.startWorkers(1);
  for (const steps of [10, 100]) {
    const run = await world.submit("small", steps);
    await world.ended(run);
    const took = await timed(10, 1, () => world.proof("small", run));
    rows.push(row(`proof of ${steps} steps, a whole command`, took));
  }
  await world.stopWorkers();
  return rows;
}

async function timed(count: number, at: number, work: () => Promise<unknown>): Promise<number[]> {
  const took: number[] = [];
  let left = count;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const began = performance.now();
      await work();
      took.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: at }, one));
  return took;
}

function row(name: string, took: readonly number[], bare?: readonly number[]): BenchRow {
  const { p50, p99, max } = quantiles(took);
  const values = { p50: round(p50), p99: round(p99), max: round(max) };
  if (bare === undefined) return { name, values };
  return {
    name,
    values: { ...values, "p50 ratio to a bare request": round(p50 / quantiles(bare).p50) },
  };
}

function argument(name: string, otherwise: number): number {
  const given = process.argv.find((word) => word.startsWith(`--${name}=`));
  return given === undefined ? otherwise : Number(given.slice(name.length + 3));
}

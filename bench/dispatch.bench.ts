import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPostgres } from "../packages/runtime/test/support/postgres-server.ts";
import { openInstallation } from "../packages/runtime/src/installation/index.ts";
import { type Dbos, openDbos } from "./dbos.ts";
import { enrolLanes, openLane } from "./governed-lane.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const STEPS = Number(process.env["DISPATCH_STEPS"] ?? 1280);
const ROUNDS = 5;

/** What one kind did in one round. */
interface Lap {
  readonly perSecond: number;
  /** Milliseconds of each step. */
  readonly took: readonly number[];
}

/** Does so many steps in each of so many lanes. */
type Kind = (lanes: number, steps: number) => Promise<Lap>;

/**
 * Empty steps under DBOS and under Sovereign, in turns, on the same PostgreSQL. A step of DBOS is one row
 * after it. One of Sovereign is two signed entries, the first of them before it, with the policy's decision.
 */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "sov-dispatch-"));
  mkdirSync(join(folder, "server"));
  const server = await startPostgres(join(folder, "server"));
  const home = join(folder, "home");
  mkdirSync(home, { mode: 0o700 });
  const installation = await openInstallation({ home, databaseUrl: server.url, passphrase: null });
  const dbos = await openDbos(server.url);
  try {
    await enrolLanes(installation);
    const ours: Kind = async (lanes, steps) => {
      const took: number[] = [];
      const note = (stage: string, ms: number): void => {
        if (stage === "whole") took.push(ms);
      };
      const open = Array.from({ length: lanes }, () => openLane(installation, note));
      const all = await Promise.all(open);
      return lap(took, async () => {
        await Promise.all(all.map(async (step) => repeat(steps, step)));
      });
    };
    const rows: BenchRow[] = [];
    for (const lanes of [1, 64]) rows.push(...(await compare(lanes, theirs(dbos), ours)));
    return { title: "Empty steps under DBOS and under Sovereign, in turns", rows };
  } finally {
    await dbos.close();
    await installation.close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function theirs(dbos: Dbos): Kind {
  return (lanes, steps) => {
    const took: number[] = [];
    return lap(took, async () => {
      const workflows = Array.from({ length: lanes }, () => dbos.workflow(steps));
      for (const one of await Promise.all(workflows)) took.push(...one);
    });
  };
}

async function compare(lanes: number, theirs: Kind, ours: Kind): Promise<BenchRow[]> {
  const steps = Math.ceil(STEPS / lanes);
  // Whatever is slow the first time only is not what is compared.
  for (const kind of [theirs, ours]) await kind(lanes, Math.ceil(steps / 4));
  const laps: { theirs: Lap; ours: Lap }[] = [];
  for (let at = 0; at < ROUNDS; at++) {
    laps.push({ theirs: await theirs(lanes, steps), ours: await ours(lanes, steps) });
  }
  const ratios = laps.map((one) => one.ours.perSecond / one.theirs.perSecond);
  return [
    rowOf(
      `${lanes} in flight: DBOS`,
      laps.map((one) => one.theirs),
    ),
    rowOf(
      `${lanes} in flight: Sovereign`,
      laps.map((one) => one.ours),
    ),
    {
      name: `${lanes} in flight: Sovereign's rate to that of DBOS`,
      values: {
        ratio: round(quantiles(ratios).p50),
        least: round(Math.min(...ratios)),
        most: round(Math.max(...ratios)),
      },
    },
  ];
}

function rowOf(name: string, laps: readonly Lap[]): BenchRow {
  const { p50, p99 } = quantiles(laps.flatMap(({ took }) => took));
  const rate = quantiles(laps.map(({ perSecond }) => perSecond)).p50;
  return { name, values: { "steps/s": round(rate), "p50 ms": round(p50), "p99 ms": round(p99) } };
}

async function lap(took: number[], work: () => Promise<void>): Promise<Lap> {
  const began = performance.now();
  await work();
  return { perSecond: (took.length * 1000) / (performance.now() - began), took };
}

async function repeat(count: number, work: () => Promise<void>): Promise<void> {
  for (let at = 0; at < count; at++) await work();
}

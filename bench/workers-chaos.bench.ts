import type { BenchReport } from "./report.ts";
import { WorkersChaos } from "./workers-chaos-rig.ts";

const RUNS = Number(process.env["WORKERS_CHAOS_RUNS"] ?? 600);

/** Workers that are killed and halted, and a database and a pooler that are: does every run end right? */
export async function run(): Promise<BenchReport> {
  const more = { kills: 20, halts: 6, databaseKills: 2, poolerRestarts: 1 };
  const began = performance.now();
  const chaos = new WorkersChaos({ workers: 3, tenants: 4, runs: RUNS, ...more }, (text) => {
    console.error(`${Math.round((performance.now() - began) / 1000)} s: ${text}`);
  });
  try {
    const { wrong, incidents, ...figures } = await chaos.run();
    for (const one of wrong) console.error(`WRONG: ${one}`);
    const values = { ...figures, ...incidents, failures: wrong.length };
    return { title: "Workers that are killed and stand still", rows: [{ name: "chaos", values }] };
  } finally {
    await chaos.close();
  }
}

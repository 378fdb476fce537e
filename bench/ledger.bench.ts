import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Store } from "../packages/runtime/src/store/index.ts";
import type { WorkOrder, WorkResult } from "./ledger-writer.ts";
import { type BenchReport, type BenchRow, round } from "./report.ts";

const SECONDS = 3;

/**
 * Durable events a second, through the whole commit path, beside raw batched INSERTs of the same
 * bytes into a plain table of the same server, in the same run.
 */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "sov-bench-"));
  const options = { folder: join(folder, "pg"), headsFolder: join(folder, "l"), databaseUrl: null };
  const store = await Store.open(options);
  const rows: BenchRow[] = [];
  try {
    for (const processes of [1, 4]) {
      for (const inFlight of [1, 32, 1024]) {
        const each = Math.max(1, Math.floor(inFlight / processes));
        const raw = await load(processes, {
          kind: "raw",
          inFlight: each,
          folder,
          seconds: SECONDS,
        });
        const ledger = await load(processes, {
          kind: "ledger",
          inFlight: each,
          folder,
          seconds: SECONDS,
        });
        rows.push({
          name: `${processes} process, ${each * processes} in flight`,
          values: {
            "ledger events/s": round(ledger),
            "raw INSERT rows/s": round(raw),
            ratio: round(ledger / raw),
          },
        });
      }
    }
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
  return { title: "Durable ledger events", rows };
}

/** Events a second of all the processes together. */
async function load(processes: number, order: WorkOrder): Promise<number> {
  const script = join(import.meta.dirname, "ledger-writer.ts");
  const children = Array.from({ length: processes }, () => fork(script));
  const rates = await Promise.all(children.map((child, index) => rateOf(child, order, index)));
  return rates.reduce((total, rate) => total + rate, 0);
}

function rateOf(child: ChildProcess, order: WorkOrder, index: number): Promise<number> {
  return new Promise((resolve, reject) => {
    child.on("message", (result: WorkResult) => {
      if (result === "ready") child.send({ ...order, index });
      else resolve(result.events / result.seconds);
    });
    child.on("exit", (code) => {
      if (code !== 0) reject(new Error(`writer ended with ${String(code)}`));
    });
  });
}

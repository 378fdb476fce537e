import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Store } from "../packages/runtime/src/store/index.ts";
import type { WorkOrder, WorkResult } from "./ledger-writer.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const ROUNDS = 5;
const SECONDS = 0.4;
const WARMUP_SECONDS = 0.4;

/**
 * Durable events a second, through the whole commit path, beside raw batched INSERTs of the same
 * bytes into a plain table of the same server.
 *
 * Both are measured in short rounds, in turns and by the same processes, so that a neighbour on the
 * machine, or a server whose tables grow, weighs on both alike. Reported are the medians of the
 * rounds, and the median of each round's ratio.
 */
export async function run(): Promise<BenchReport> {
  const folder = mkdtempSync(join(tmpdir(), "sov-bench-"));
  const options = { folder: join(folder, "pg"), headsFolder: join(folder, "l"), databaseUrl: null };
  const store = await Store.open(options);
  const rows: BenchRow[] = [];
  try {
    for (const processes of [1, 4]) {
      const writers = Array.from({ length: processes }, () => start(folder));
      await Promise.all(writers.map(answerOf));
      for (const inFlight of [1, 32, 1024]) rows.push(await compare(writers, inFlight));
      await Promise.all(writers.map(stop));
    }
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
  return { title: "Durable ledger events", rows };
}

async function compare(writers: readonly Writer[], inFlight: number): Promise<BenchRow> {
  const each = Math.max(1, Math.floor(inFlight / writers.length));
  const kinds = ["raw", "ledger"] as const;
  // What is measured is how it goes on, not how it starts.
  for (const kind of kinds)
    await rateOf(writers, { kind, inFlight: each, seconds: WARMUP_SECONDS });
  const rates = { raw: [] as number[], ledger: [] as number[] };
  for (let at = 0; at < ROUNDS; at++) {
    for (const kind of at % 2 === 0 ? kinds : kinds.toReversed()) {
      rates[kind].push(await rateOf(writers, { kind, inFlight: each, seconds: SECONDS }));
    }
  }
  const ratios = rates.ledger.map((rate, at) => rate / (rates.raw[at] ?? Number.NaN));
  return {
    name: `${writers.length} process, ${each * writers.length} in flight`,
    values: {
      "ledger events/s": round(quantiles(rates.ledger).p50),
      "raw INSERT rows/s": round(quantiles(rates.raw).p50),
      ratio: round(quantiles(ratios).p50),
    },
  };
}

/** Events a second of all the processes together. */
async function rateOf(writers: readonly Writer[], order: WorkOrder): Promise<number> {
  const results = await Promise.all(
    writers.map((writer) => {
      const answer = answerOf(writer);
      writer.child.send(order);
      return answer;
    }),
  );
  return results.reduce(
    (total, result) => total + (result === "ready" ? Number.NaN : result.events / result.seconds),
    0,
  );
}

interface Writer {
  readonly child: ChildProcess;
  /** Rejected when the process ends otherwise than it should. */
  readonly died: Promise<never>;
}

function start(folder: string): Writer {
  const child = fork(join(import.meta.dirname, "ledger-writer.ts"), [folder]);
  const died = new Promise<never>((_, reject) => {
    child.on("exit", (code) => {
      if (code !== 0) reject(new Error(`a writer ended with ${String(code)}`));
    });
  });
  return { child, died };
}

async function answerOf({ child, died }: Writer): Promise<WorkResult> {
  const answer = once(child, "message") as Promise<[WorkResult]>;
  return (await Promise.race([answer, died]))[0];
}

async function stop({ child, died }: Writer): Promise<void> {
  const ended = once(child, "exit");
  child.disconnect();
  await Promise.race([ended, died]);
}

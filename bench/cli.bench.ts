import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openInstallation } from "../packages/runtime/src/installation/index.ts";
import { type BenchReport, type BenchRow, quantiles, round } from "./report.ts";

const TRIALS = 20;
const PROGRAM = "packages/runtime/bin/sovereign.js";

const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  "node -e 0": ["-e", "0"],
  "sovereign --help": [PROGRAM, "--help"],
  "sovereign --version": [PROGRAM, "--version"],
  "sovereign exec run --help": [PROGRAM, "exec", "run", "--help"],
  "sovereign scram status": [PROGRAM, "scram", "status"],
  "sovereign runs list": [PROGRAM, "runs", "list"],
};

/** From start to end of a command, in turns, with the server up; beside Node that does nothing. */
export async function run(): Promise<BenchReport> {
  const home = mkdtempSync(join(tmpdir(), "sov-bench-cli-"));
  const installation = await openInstallation({ home, databaseUrl: null, passphrase: null });
  try {
    const took = new Map(Object.keys(COMMANDS).map((name): [string, number[]] => [name, []]));
    for (let trial = -1; trial < TRIALS; trial++) {
      for (const [name, words] of Object.entries(COMMANDS)) {
        const ms = timeOf(words, home);
        // The first of each fills the compile cache.
        if (trial >= 0) took.get(name)?.push(ms);
      }
    }
    const nothing = quantiles(took.get("node -e 0") ?? []).p50;
    const rows = [...took].map(([name, samples]): BenchRow => {
      const { p50, p99 } = quantiles(samples);
      const values = {
        "p50 ms": round(p50),
        "p99 ms": round(p99),
        "times node": round(p50 / nothing),
        "beyond node ms": round(p50 - nothing),
      };
      return { name, values };
    });
    return { title: `Commands, ${TRIALS} of each in turns`, rows };
  } finally {
    await installation.close();
    rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}

function timeOf(words: readonly string[], home: string): number {
  const env = { PATH: process.env["PATH"], HOME: home, SOVEREIGN_HOME: home };
  const start = performance.now();
  const { status, stderr } = spawnSync(process.execPath, words, { env, encoding: "utf8" });
  if (status !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
  return performance.now() - start;
}

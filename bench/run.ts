import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type BenchReport, printReport } from "./report.ts";

/** `npm run bench [name …] [-- --json]`: all benchmarks, or those named. */
const names = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const files = readdirSync(import.meta.dirname).filter((file) => file.endsWith(".bench.ts"));
for (const file of files.sort()) {
  if (names.length > 0 && !names.includes(file.replace(".bench.ts", ""))) continue;
  const { run } = (await import(join(import.meta.dirname, file))) as {
    run: () => Promise<BenchReport>;
  };
  const report = await run();
  if (process.argv.includes("--json")) console.log(JSON.stringify({ file, ...report }));
  else printReport(report);
}

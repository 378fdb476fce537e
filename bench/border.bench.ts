import { randomInt } from "node:crypto";
import { attack } from "../packages/runtime/test/support/hostile-tenants.ts";
import { type BenchReport, round } from "./report.ts";

const OPERATIONS = 10_000;

/** Two hostile tenants send any SQL at the border between tenants; a crossing ends it with an error. */
export async function run(): Promise<BenchReport> {
  const seed = randomInt(1_000_000);
  const start = performance.now();
  const refused = await attack(OPERATIONS, seed);
  const seconds = (performance.now() - start) / 1000;
  const values = { ...refused, seed, "operations/s": round(OPERATIONS / seconds), crossings: 0 };
  return {
    title: "The border between tenants",
    rows: [{ name: `${OPERATIONS} hostile operations`, values }],
  };
}

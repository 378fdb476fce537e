import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fuzzBundle } from "../packages/verify/test/support/mutate.ts";

/**
 * `npm run fuzz [-- VARIANTS [SEED]]`: changes genuine bundles at random, knowing their structure,
 * and verifies each. It fails where one is accepted, throws, or takes longer than a second.
 */

const VECTORS = join(import.meta.dirname, "..", "test", "vectors", "evidence");
const [variants = "100000", seed = "1"] = process.argv.slice(2);
const bases = [
  ["forged/pipeline-genuine.zip", "forged/trust-pipeline.json"],
  ["forged/execution-genuine.zip", "forged/trust-execution.json"],
  ["genuine/exec-deny.json", "genuine/trust-last.json"],
  ["genuine/exec.json", "genuine/trust-last.json"],
  ["genuine/iron.json", "genuine/trust-last.json"],
];
const each = Math.ceil(Number(variants) / bases.length);
let bad = 0;
for (const [file = "", trust = ""] of bases) {
  const found = fuzzBundle(readFileSync(join(VECTORS, file)), readFileSync(join(VECTORS, trust)), {
    variants: each,
    seed: Number(seed),
  });
  console.log(file, JSON.stringify(found));
  bad += found.accepted.length + found.thrown.length + found.slow.length;
}
process.exitCode = bad > 0 ? 1 : 0;

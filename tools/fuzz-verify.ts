import { readFileSync } from "node:fs";
import { join } from "node:path";
import { auditOf } from "../packages/verify/test/support/audit-file.ts";
import { type Fuzzed, fuzzBundle } from "../packages/verify/test/support/mutate.ts";
import { fuzzAudit, fuzzNote, fuzzTrust } from "../packages/verify/test/support/mutate-inputs.ts";

/**
 * `npm run fuzz [-- VARIANTS [SEED]]`: changes genuine bundles at random, knowing their structure,
 * and verifies each; the same with audit files, checkpoints and trust roots, a tenth as many of each.
 * It fails where one is accepted, throws, or takes longer than five seconds.
 */

const VECTORS = join(import.meta.dirname, "..", "test", "vectors", "evidence");
const [variants = "100000", seed = "1"] = process.argv.slice(2);
const bases = [
  ["forged/pipeline-genuine.zip", "forged/trust-pipeline.json"],
  ["forged/execution-genuine.zip", "forged/trust-execution.json"],
  ["genuine/exec-deny.json", "genuine/trust-last.json"],
  ["genuine/exec-rb.json", "genuine/trust-last.json"],
  ["genuine/failing.json", "genuine/trust-last.json"],
  ["genuine/batch.json", "genuine/trust-batch.json"],
  ["genuine/exec.json", "genuine/trust-last.json"],
  ["genuine/iron.json", "genuine/trust-last.json"],
] as const;
const each = Math.ceil(Number(variants) / bases.length);
const tenth = { variants: Math.ceil(Number(variants) / 10), seed: Number(seed) };
let bad = 0;
for (const [file, trust] of bases) {
  tell(file, fuzzBundle(read(file), read(trust), { variants: each, seed: Number(seed) }));
}
const [[whole, root]] = bases;
tell("audit file", await fuzzAudit(auditOf(read(whole)), read(root), tenth));
tell("checkpoint", await fuzzNote(auditOf(read(whole)), read(root), tenth));
tell("trust root", await fuzzTrust(read("genuine/exec-deny.json"), read(bases[2][1]), tenth));
process.exitCode = bad > 0 ? 1 : 0;

function read(name: string): Uint8Array {
  return readFileSync(join(VECTORS, name));
}

function tell(name: string, found: Fuzzed): void {
  console.log(name, JSON.stringify(found));
  bad += found.accepted.length + found.thrown.length + found.slow.length;
}

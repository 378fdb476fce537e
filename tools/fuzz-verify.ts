import { readFileSync } from "node:fs";
import { join } from "node:path";
import { auditOf } from "../packages/verify/test/support/audit-file.ts";
import { type Fuzzed, fuzzBundle } from "../packages/verify/test/support/mutate.ts";
import { fuzzAudit, fuzzNote, fuzzTrust } from "../packages/verify/test/support/mutate-inputs.ts";

/**
 * `npm run fuzz [-- VARIANTS [SEED [INPUTS]]]`: changes genuine bundles at random, knowing their structure,
 * and verifies each; the same with audit files, checkpoints and trust roots, a tenth as many of each.
 * It prints how far it is, and fails where one is accepted, throws, or takes longer than five
 * seconds.
 */

const VECTORS = join(import.meta.dirname, "..", "test", "vectors", "evidence");
/** How many variants are made between two lines of progress. */
const PART = 500;
const variants = numberOf(process.argv[2] ?? "100000", "VARIANTS");
const seed = numberOf(process.argv[3] ?? "1", "SEED");
const bases = [
  ["forged/pipeline-genuine.zip", "forged/trust-pipeline.json"],
  ["forged/execution-genuine.zip", "forged/trust-execution.json"],
  ["forged/agent-genuine.zip", "forged/trust-agent.json"],
  ["forged/compare-genuine.zip", "forged/trust-compare.json"],
  ["forged/source-genuine.zip", "forged/trust-source.json"],
  ["forged/goal-genuine.zip", "forged/trust-goal.json"],
  ["genuine/exec-deny.json", "genuine/trust-last.json"],
  ["genuine/exec-rb.json", "genuine/trust-last.json"],
  ["genuine/failing.json", "genuine/trust-last.json"],
  ["genuine/batch.json", "genuine/trust-batch.json"],
  ["genuine/exec.json", "genuine/trust-last.json"],
  ["genuine/iron.json", "genuine/trust-last.json"],
] as const;
/** Which inputs: all, or those whose names contain one of these words, between commas. */
const only = (process.argv[4] ?? "").split(",");
const isWanted = (name: string): boolean => only.some((word) => name.includes(word));
const each = Math.ceil(variants / bases.length);
const tenth = Math.ceil(variants / 10);
const others = ["audit file", "checkpoint", "trust root"].filter(isWanted);
const whole = each * bases.filter(([name]) => isWanted(name)).length + tenth * others.length;
let done = 0;
const wrong = { accepted: 0, thrown: 0, slow: 0 };

type Plan = Parameters<typeof fuzzBundle>[2];

for (const [file, trust] of bases) {
  const bundle = read(file);
  const root = read(trust);
  await fuzz(file, each, (plan) => fuzzBundle(bundle, root, plan));
}
const [[pipeline, root]] = bases;
await fuzz("audit file", tenth, (plan) => fuzzAudit(auditOf(read(pipeline)), read(root), plan));
await fuzz("checkpoint", tenth, (plan) => fuzzNote(auditOf(read(pipeline)), read(root), plan));
await fuzz("trust root", tenth, (plan) =>
  fuzzTrust(read("genuine/exec-deny.json"), read("genuine/trust-last.json"), plan),
);
console.log(JSON.stringify({ variants: done, ...wrong, peak_mib: peakMib() }));
if (whole === 0) console.error("INPUTS: expected words of inputs' names, found none of them.");
process.exitCode = whole === 0 ? 2 : wrong.accepted + wrong.thrown + wrong.slow > 0 ? 1 : 0;

/** Some variants of one input, in parts, each with a seed of its own that names it again. */
async function fuzz(
  name: string,
  wanted: number,
  judge: (plan: Plan) => Fuzzed | Promise<Fuzzed>,
): Promise<void> {
  if (!isWanted(name)) return;
  const verdicts: Record<string, number> = {};
  const bad: string[] = [];
  let refused = 0;
  for (let at = 0; at < wanted; at += PART) {
    const part = Math.min(PART, wanted - at);
    const found = await judge({ variants: part, seed: seed * 1_000_000 + at });
    for (const [verdict, count] of Object.entries(found.verdicts)) {
      verdicts[verdict] = (verdicts[verdict] ?? 0) + count;
    }
    refused += found.refused;
    for (const kind of ["accepted", "thrown", "slow"] as const) {
      wrong[kind] += found[kind].length;
      bad.push(...found[kind].map((what) => `${kind}: ${what}`));
    }
    done += part;
    const so = `accepted ${wrong.accepted}, thrown ${wrong.thrown}, slow ${wrong.slow}`;
    console.error(`${done} of ${whole}: ${name}; ${so}; peak ${peakMib()} MiB`);
  }
  console.log(name, JSON.stringify({ variants: wanted, refused, verdicts }));
  for (const what of bad) console.log(`  ${what}`);
}

function read(name: string): Uint8Array {
  return readFileSync(join(VECTORS, name));
}

function peakMib(): number {
  return Math.round(process.resourceUsage().maxRSS / 1024);
}

function numberOf(text: string, what: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  console.error(`${what}: expected a whole number from 1, found ${text}.`);
  console.error("Usage: npm run fuzz [-- VARIANTS [SEED [INPUTS]]]");
  process.exit(2);
}

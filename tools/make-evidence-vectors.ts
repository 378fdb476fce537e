import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type ComplianceBundle,
  isSovereignError,
  parseStrictJson,
  type StepName,
} from "@sovereign/core";
import { verifyBundle, writeBundleZip } from "@sovereign/verify";
import { Forgery } from "../packages/runtime/test/support/forger.ts";
import { agentWorld } from "../packages/runtime/test/support/agent-evidence.ts";
import { connectionWorld } from "../packages/runtime/test/support/connection-evidence.ts";
import { compareWorld } from "../packages/runtime/test/support/compare-evidence.ts";
import { sourceWorld } from "../packages/runtime/test/support/source-evidence.ts";
import type { EvidenceWorld } from "../packages/runtime/test/support/evidence.ts";
import {
  bundleOf,
  executionWorld,
  goalWorld,
  pipelineWorld,
  stoppedWorld,
} from "../packages/runtime/test/support/vector-world.ts";
import { writeAudits } from "./evidence-vectors/write-audits.ts";
import { WITHOUT_AUTHORITY } from "./evidence-vectors/authority-rows.ts";
import { OF_CONNECTIONS } from "./evidence-vectors/connection-rows.ts";
import { OF_GOALS } from "./evidence-vectors/goal-rows.ts";
import { OF_HOLDERS } from "./evidence-vectors/holder-rows.ts";
import { OF_BALLOTS, OF_SOURCES } from "./evidence-vectors/newest-rows.ts";
import type { Row } from "./evidence-vectors/row.ts";
import { UNDETECTABLE, WITH_ALL_KEYS, WITH_ROOT } from "./evidence-vectors/signed-rows.ts";
import { OF_TOOLS } from "./evidence-vectors/tool-rows.ts";
import { WITH_SEAL, WITHOUT_KEYS } from "./evidence-vectors/unsigned-rows.ts";

/**
 * Makes the forgeries of `test/vectors/evidence/forged` and the index of all vectors there. What
 * stands in `genuine` and `found` was recorded once, and is only listed. It fails where a verdict is
 * not the one that a row declares; the keys are new each time, so the files are, too.
 */

const ROOT = join(import.meta.dirname, "..", "test", "vectors", "evidence");
const FORGED = join(ROOT, "forged");

/** One vector: what to verify, against what, and what must come out. */
interface Vector {
  readonly file: string;
  readonly trust: string | null;
  readonly level: "sovereign" | "compatible";
  /** `refused` is no verdict: the file is no bundle, or the trust root none. */
  readonly verdict: string;
  /** The first step that does not pass, and where; null where all pass or nothing is verified. */
  readonly at: { readonly step: StepName; readonly place: string } | null;
  readonly what: string;
  readonly held: string;
}

rmSync(FORGED, { recursive: true, force: true });
mkdirSync(FORGED, { recursive: true });
const agent = await agentWorld();
const compared = await compareWorld();
const { made: source } = await sourceWorld();
const worlds = {
  pipeline: await pipelineWorld(),
  execution: await executionWorld(),
  compatible: await pipelineWorld("compatible"),
  stopped: await stoppedWorld(),
  agent: agent.made,
  compare: compared.made,
  source,
  goal: await goalWorld(),
  connection: await connectionWorld(),
};
const vectors: Vector[] = [...recorded()];
for (const [name, world] of Object.entries(worlds)) {
  writeFileSync(join(FORGED, `trust-${name}.json`), world.trustRoot());
  const genuine = await genuineOf(world);
  write(`${name}-genuine`, new Forgery(genuine, signers(world)).bytes());
  const row = { name: `a genuine ${name} run`, held: "genuine", base: name, verdict: "VALID" };
  vectors.push(vectorOf(`${name}-genuine`, row));
}
const rows: readonly Row[] = [
  ...[...WITHOUT_KEYS, ...WITH_SEAL, ...WITH_ALL_KEYS, ...WITH_ROOT],
  ...UNDETECTABLE,
  ...WITHOUT_AUTHORITY,
  ...OF_TOOLS,
  ...OF_SOURCES,
  ...OF_BALLOTS,
  ...OF_GOALS,
  ...OF_CONNECTIONS,
  ...OF_HOLDERS,
];
for (const [index, row] of rows.entries()) {
  const world = worlds[row.base];
  const forgery = new Forgery(await genuineOf(world), signers(world));
  await row.make(forgery);
  const file = `${String(index + 1).padStart(3, "0")}-${slug(row.name)}`;
  write(file, forgery.bytes());
  vectors.push(vectorOf(file, row));
}
const audits = await writeAudits(ROOT, worlds.pipeline);
for (const world of Object.values(worlds)) world.dispose();
const all = [...vectors, ...audits];
const wrong = all.filter((one) => one.verdict.startsWith("!"));
for (const one of wrong) console.error(`${one.file}: ${one.verdict} ${JSON.stringify(one)}`);
writeFileSync(join(ROOT, "index.json"), `${JSON.stringify({ vectors, audits }, null, 2)}\n`);
console.log(`${all.length} vectors, ${wrong.length} of them with another verdict`);
process.exitCode = wrong.length > 0 ? 1 : 0;

async function genuineOf(world: EvidenceWorld): Promise<ComplianceBundle> {
  if (world === agent.made) return agent.bundle();
  if (world === compared.made) return compared.bundle();
  return world === source ? world.bundle() : bundleOf(world);
}

function signers(world: EvidenceWorld): ConstructorParameters<typeof Forgery>[1] {
  return (purpose, role) => world.world.authority.signer(purpose, role);
}

function write(name: string, bytes: Uint8Array): void {
  // Zipped, which the verifier reads as it is: a tenth of their size, and one layout more in use.
  writeFileSync(join(FORGED, `${name}.zip`), writeBundleZip(bytes));
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 60)
    .replace(/-$/, "");
}

function vectorOf(
  name: string,
  row: {
    readonly name: string;
    readonly held: string;
    readonly base: string;
    readonly verdict: string;
  },
): Vector {
  const level = row.base === "compatible" ? "compatible" : "sovereign";
  const trust = `forged/trust-${row.base}.json`;
  return judged(`forged/${name}.zip`, trust, level, row);
}

function judged(
  file: string,
  trust: string | null,
  level: Vector["level"],
  row: { readonly name: string; readonly held: string; readonly verdict: string },
): Vector {
  const found = verdictOf(file, trust, level);
  const verdict = found.verdict === row.verdict ? row.verdict : `!${found.verdict}`;
  return { file, trust, level, verdict, at: found.at, what: row.name, held: row.held };
}

function verdictOf(
  file: string,
  trust: string | null,
  level: Vector["level"],
): Pick<Vector, "verdict" | "at"> {
  const trustRoot = trust === null ? null : readFileSync(join(ROOT, trust));
  try {
    const report = verifyBundle(readFileSync(join(ROOT, file)), { trustRoot, level });
    const bad = report.steps.find((step) => step.first_failure !== null);
    const place = bad?.first_failure?.place;
    const at = bad === undefined || place === undefined ? null : { step: bad.name, place };
    return { verdict: report.verdict, at };
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return { verdict: "refused", at: null };
  }
}

/** Bundles and forgeries that were made with the product itself. */
function recorded(): Vector[] {
  const list = parseStrictJson(readFileSync(join(ROOT, "recorded.json"))) as {
    file: string;
    trust: string | null;
    verdict: string;
    what: string;
    held: string;
  }[];
  const listed = new Set(list.map((one) => one.file));
  for (const folder of ["genuine", "found"]) {
    for (const name of readdirSync(join(ROOT, folder))) {
      const file = `${folder}/${name}`;
      if (!listed.has(file) && !name.includes("trust")) throw new Error(`${file} is not listed`);
    }
  }
  return list.map((one) => {
    const level = one.file.includes("compat") ? "compatible" : "sovereign";
    return judged(one.file, one.trust, level, { ...one, name: one.what });
  });
}

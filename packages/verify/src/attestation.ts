import {
  type ArtifactRef,
  base64Decode,
  digestOf,
  Frontier,
  hexEncode,
  isGateInput,
  type PlacedEntry,
  type Predicate,
  predicateType,
  SLSA_PROVENANCE_TYPE,
  SOURCE_SUMMARY_TYPE,
  sha256Hex,
} from "@sovereign/core";
import { RunBallots } from "./consensus.ts";
import type { Evidence } from "./evidence.ts";
import { verifyGateReceipt } from "./gate-receipt.ts";
import { verifyGoal } from "./goal.ts";
import { verifyProvenance, verifyRollbackProof } from "./provenance.ts";
import { RunStory } from "./run-story.ts";
import { verifySourceStatement } from "./source-statement.ts";
import { envelopesOf } from "./signatures.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";
import { ToolStatements } from "./tool-statements.ts";

/** Step 5: what the run says of itself, recomputed: its seal, votes, proofs and artifacts. */
export function verifyAttestations(evidence: Evidence, step: StepRecorder): void {
  const { entries } = evidence.bundle;
  const story = new RunStory();
  const ballots = new RunBallots(evidence, story, declaredBallots(evidence));
  const tools = new ToolStatements(evidence, story);
  const receipts = { begun: 0, count: 0, sources: 0 };
  const named = new Map<string, ArtifactRef>();
  const followed = { artifacts: [], named, receipts, attested: new Set<string>() };
  const run: Followed = { evidence, step, story, ballots, tools, ...followed };
  for (const [sequence, entry] of entries.entries()) {
    if (!LOOKED_AT.has(entry.entry.event_type)) continue;
    step.check(`entries[${sequence}]`, () => {
      story.follow(evidence, entry);
      followOne(run, entry);
    });
  }
  step.check("gate_receipt", () => {
    requireReceipt(run);
  });
  step.check("tool_packs", () => {
    tools.requireWhole(run.artifacts);
  });
  verifyGoal(evidence, snapshotOf(evidence)?.kind ?? null, step);
  step.check("artifacts", () => {
    verifyArtifacts(evidence, run.artifacts);
  });
  step.detail("artifacts", run.artifacts.length);
  step.detail("votes", ballots.votes);
}

/** What has been read of the run so far. */
interface Followed {
  readonly evidence: Evidence;
  readonly step: StepRecorder;
  readonly story: RunStory;
  readonly ballots: RunBallots;
  readonly tools: ToolStatements;
  readonly artifacts: ArtifactRef[];
  /** The first of each name. */
  readonly named: Map<string, ArtifactRef>;
  /** How many were looked at, and how many of them hold. */
  readonly receipts: { begun: number; count: number; sources: number };
  /** The envelopes of attestations so far: none is issued twice. */
  readonly attested: Set<string>;
}

/** One, and one more for each time that a run was taken up at the wrong moment. */
const RECEIPTS_MAX = 8;

const LOOKED_AT: ReadonlySet<string> = new Set([
  ...["execution.authorized", "execution.completed", "evidence.recorded", "attestation.issued"],
  ...["consensus.reached", "consensus.failed", "agent.abstained", "run.sealed"],
]);

function followOne(run: Followed, entry: PlacedEntry): void {
  const { evidence, story, ballots } = run;
  const { event_type: event } = entry.entry;
  switch (event) {
    case "execution.authorized": {
      const { context } = evidence.events.data(entry, event);
      const begun = story.steps.get(context.step_id);
      if (begun?.type === "model.promote") ballots.promote(begun);
      return;
    }
    case "execution.completed":
    case "evidence.recorded":
      declare(run, evidence.events.data(entry, event).artifacts);
      return;
    case "attestation.issued":
      verifyStatement(run, entry);
      return;
    case "consensus.reached":
    case "consensus.failed":
      ballots.judge(entry);
      return;
    case "run.sealed":
      // Each costs as much as the whole run: it is one, and the last.
      if (entry !== evidence.bundle.entries.at(-1)) throw wrong("Something follows run.sealed.");
      verifySeal(evidence, entry, run.artifacts);
      return;
    default:
  }
}

/** One name is one file in a run. */
function declare({ artifacts, named: names }: Followed, named: readonly ArtifactRef[]): void {
  for (const artifact of named) {
    const before = names.get(artifact.name);
    if (before === undefined) names.set(artifact.name, artifact);
    artifacts.push(artifact);
    if (before !== undefined) {
      expectEqual(digestOf(artifact), digestOf(before), `The file ${artifact.name}, named before`);
    }
  }
}

/** Null where the snapshot is from before ballots stood in it, or is not what it should be. */
function declaredBallots(evidence: Evidence): ConstructorParameters<typeof RunBallots>[2] {
  return snapshotOf(evidence)?.ballots ?? null;
}

/** Steps 3 and 4 say what is wrong with it. */
function snapshotOf(evidence: Evidence): Predicate<"config-snapshot"> | null {
  try {
    return openSnapshot(evidence);
  } catch {
    return null;
  }
}

function openSnapshot(evidence: Evidence): Predicate<"config-snapshot"> {
  const first = evidence.bundle.entries[0];
  if (first === undefined) throw wrong("There are no entries.");
  const { envelopes } = evidence.events.data(first, "run.admitted");
  return evidence.open(envelopes.config_snapshot, "config-snapshot", first).predicate;
}

function verifySeal(
  evidence: Evidence,
  last: PlacedEntry,
  artifacts: readonly ArtifactRef[],
): void {
  const data = evidence.events.data(last, "run.sealed");
  const { manifest, entries, key_log } = evidence.bundle;
  const before = entries.slice(0, -1);
  expectEqual(data.count, before.length, "The sealed count");
  expectEqual(data.head, last.entry.previous_hash, "The sealed head");
  expectEqual(data.key_log.count, key_log.length, "The sealed count of the key log");
  expectEqual(data.key_log.head, key_log.at(-1)?.hash, "The sealed head of the key log");
  const { predicate: proof } = evidence.open(data.envelopes.run_proof, "run-proof", last);
  expectEqual(proof.run_id, manifest.run_id, "The proof's run");
  expectEqual(proof.tenant_id, manifest.tenant_id, "The proof's tenant");
  expectEqual(proof.mode, manifest.mode, "The proof's mode");
  expectEqual(proof.status, data.status, "The proof's status");
  expectEqual(proof.count, data.count, "The proof's count");
  expectEqual(proof.head, data.head, "The proof's head");
  expectEqual(digestOf(proof.key_log), digestOf(data.key_log), "The proof's key log");
  const admitted = entries[0];
  if (admitted === undefined) throw wrong("There are no entries.");
  const { plan_digest } = evidence.events.data(admitted, "run.admitted");
  expectEqual(proof.plan_digest, plan_digest, "The proof's plan");
  const frontier = new Frontier();
  for (const placed of before) frontier.append(evidence.hashes.leaf(placed));
  expectEqual(proof.root, hexEncode(frontier.root()), "The proof's root");
  expectEqual(digestOf([...proof.artifacts]), digestOf([...artifacts]), "The proof's artifacts");
}

function verifyStatement(run: Followed, entry: PlacedEntry): void {
  const { evidence, story, ballots, tools, attested } = run;
  const { predicate_type: type } = evidence.events.data(entry, "attestation.issued");
  for (const [name, digest] of envelopesOf(entry)) {
    if (attested.has(digest)) throw wrong(`The attestation ${name} was issued before.`);
    attested.add(digest);
  }
  if (type === predicateType("vote")) {
    ballots.cast(entry);
    return;
  }
  const [only, ...others] = envelopesOf(entry).map(([, digest]) => digest);
  if (only === undefined || others.length > 0) throw wrong("Expected one statement.");
  if (type === SLSA_PROVENANCE_TYPE) verifyProvenance(evidence, only, entry, story);
  else if (type === predicateType("gate-receipt")) verifyReceipt(run, only, entry);
  else if (type === SOURCE_SUMMARY_TYPE) verifySource(run, only, entry);
  else if (type === predicateType("tool-task")) tools.task(only, entry);
  else if (type === predicateType("tool-result")) tools.result(only, entry);
  else if (type === predicateType("rollback-proof")) {
    verifyRollbackProof(evidence, only, entry, story);
  }
}

/** Each is judged again, over all documents; one that fails has cost as much. */
function verifyReceipt(
  { evidence, step, receipts }: Followed,
  only: string,
  entry: PlacedEntry,
): void {
  receipts.begun += 1;
  if (receipts.begun > RECEIPTS_MAX) throw wrong("The run has more receipts than a run can.");
  step.detail("gates", verifyGateReceipt(evidence, only, entry));
  receipts.count += 1;
}

function verifySource(
  { evidence, step, receipts }: Followed,
  only: string,
  entry: PlacedEntry,
): void {
  receipts.sources += 1;
  if (receipts.sources > 1) throw wrong("The run says twice what it brought to a branch.");
  step.detail("source", verifySourceStatement(evidence, only, entry));
}

const EXECUTIONS: ReadonlySet<string> = new Set(["exec_request", "exec_rollback", "agent"]);

/** Executions are judged by the gates before they are sealed: what left that out says nothing. */
function requireReceipt({ evidence, story, receipts }: Followed): void {
  const { entries } = evidence.bundle;
  if (entries.at(-1)?.entry.event_type !== "run.sealed" || receipts.count > 0) return;
  const kind = snapshotOf(evidence)?.kind;
  const acted = [...story.steps.values()].some(({ type }) => type.startsWith("git."));
  const recorded = entries.some(
    (one) =>
      one.entry.event_type === "evidence.recorded" &&
      evidence.events
        .data(one, "evidence.recorded")
        .artifacts.some((artifact) => isGateInput(artifact.name)),
  );
  if ((kind !== undefined && EXECUTIONS.has(kind)) || acted || recorded) {
    throw wrong("The run is an execution, and has no receipt of its gates.");
  }
}

function verifyArtifacts(evidence: Evidence, declared: readonly ArtifactRef[]): void {
  const { artifacts } = evidence.bundle;
  const refs = artifacts.map(({ name, sha256, bytes, media_type }) => ({
    name,
    sha256,
    bytes,
    media_type,
  }));
  expectEqual(digestOf(refs), digestOf([...declared]), "The list of artifacts");
  for (const { name, sha256, bytes, content } of artifacts) {
    if (content === undefined) continue;
    const decoded = base64Decode(content);
    expectEqual(decoded.length, bytes, `The size of ${name}`);
    expectEqual(sha256Hex(decoded), sha256, `The digest of ${name}`);
  }
}

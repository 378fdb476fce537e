import {
  type ArtifactRef,
  base64Decode,
  digestOf,
  Frontier,
  formats,
  hexEncode,
  type PlacedEntry,
  parseFormat,
  predicateType,
  SLSA_PROVENANCE_TYPE,
  sha256Hex,
  type Vote,
} from "@sovereign/core";
import { z } from "zod";
import type { Evidence } from "./evidence.ts";
import { verifyGateReceipt } from "./gate-receipt.ts";
import { envelopesOf } from "./signatures.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

const consensus = z.looseObject({
  ballot: z.string(),
  status: z.string(),
  electorate: z.array(z.string()).min(1),
  quorum: z.int(),
  approvals: z.array(z.string()),
});

/** Step 5: what the run says of itself, recomputed: its seal, votes, proofs and artifacts. */
export function verifyAttestations(evidence: Evidence, step: StepRecorder): void {
  const { entries } = evidence.bundle;
  const artifacts = declaredArtifacts(evidence, step);
  const known = new Set(artifacts.map((artifact) => artifact.sha256));
  const votes = new Map<string, { vote: Vote; keyId: string }[]>();
  for (const [sequence, entry] of entries.entries()) {
    const { event_type: event } = entry.entry;
    if (event === "attestation.issued") {
      step.check(`entries[${sequence}]`, () => {
        verifyStatement(evidence, entry, { step, known, votes });
      });
    }
    if (event === "consensus.reached" || event === "consensus.failed") {
      step.check(`entries[${sequence}]`, () => {
        verifyConsensus(entry, votes);
      });
    }
  }
  const last = entries.at(-1);
  if (last?.entry.event_type === "run.sealed") {
    step.check(`entries[${entries.length - 1}]`, () => {
      verifySeal(evidence, last, artifacts);
    });
  }
  step.check("artifacts", () => {
    verifyArtifacts(evidence, artifacts);
  });
  step.detail("artifacts", artifacts.length);
  step.detail("votes", [...votes.values()].flat().length);
}

function declaredArtifacts(evidence: Evidence, step: StepRecorder): ArtifactRef[] {
  const artifacts: ArtifactRef[] = [];
  for (const [sequence, entry] of evidence.bundle.entries.entries()) {
    const { event_type: event } = entry.entry;
    if (event !== "execution.completed" && event !== "evidence.recorded") continue;
    const data = step.check(`entries[${sequence}]`, () => evidence.data(entry, event));
    for (const artifact of data?.artifacts ?? []) artifacts.push(artifact);
  }
  return artifacts;
}

function verifySeal(
  evidence: Evidence,
  last: PlacedEntry,
  artifacts: readonly ArtifactRef[],
): void {
  const data = evidence.data(last, "run.sealed");
  const { manifest, entries, key_log } = evidence.bundle;
  const before = entries.slice(0, -1);
  expectEqual(data.count, before.length, "The sealed count");
  expectEqual(data.head, last.entry.previous_hash, "The sealed head");
  expectEqual(data.key_log.count, key_log.length, "The sealed count of the key log");
  expectEqual(data.key_log.head, key_log.at(-1)?.hash, "The sealed head of the key log");
  const seal = { purpose: "seal", role: null } as const;
  const { run_proof: digest } = data.envelopes;
  const { predicate: proof, subject } = evidence.open(digest, "run-proof", last, () => seal);
  expectEqual(subject[0]?.name, manifest.run_id, "The proof's subject");
  expectEqual(subject[0]?.digest.sha256, data.head, "The proof's subject digest");
  expectEqual(proof.run_id, manifest.run_id, "The proof's run");
  expectEqual(proof.tenant_id, manifest.tenant_id, "The proof's tenant");
  expectEqual(proof.mode, manifest.mode, "The proof's mode");
  expectEqual(proof.status, data.status, "The proof's status");
  expectEqual(proof.count, data.count, "The proof's count");
  expectEqual(proof.head, data.head, "The proof's head");
  expectEqual(digestOf(proof.key_log), digestOf(data.key_log), "The proof's key log");
  const admitted = entries[0];
  if (admitted === undefined) throw wrong("There are no entries.");
  const { plan_digest } = evidence.data(admitted, "run.admitted");
  expectEqual(proof.plan_digest, plan_digest, "The proof's plan");
  const frontier = new Frontier();
  for (const placed of before) frontier.append(evidence.hashes.leaf(placed));
  expectEqual(proof.root, hexEncode(frontier.root()), "The proof's root");
  expectEqual(digestOf([...proof.artifacts]), digestOf([...artifacts]), "The proof's artifacts");
}

function verifyStatement(
  evidence: Evidence,
  entry: PlacedEntry,
  so: {
    readonly step: StepRecorder;
    readonly known: ReadonlySet<string>;
    readonly votes: Map<string, { vote: Vote; keyId: string }[]>;
  },
): void {
  const { step, known, votes } = so;
  const { predicate_type: type } = evidence.data(entry, "attestation.issued");
  const attestation = { purpose: "attestation", role: null } as const;
  for (const [, digest] of envelopesOf(entry)) {
    if (type === predicateType("vote")) {
      const authority = (vote: Vote): { purpose: "role"; role: string } => ({
        purpose: "role",
        role: vote.role,
      });
      const { predicate: vote, keyId } = evidence.open(digest, "vote", entry, authority);
      if (!known.has(vote.output_digest)) throw wrong(`No artifact is the vote of ${vote.role}.`);
      const cast = votes.get(vote.ballot) ?? [];
      cast.push({ vote, keyId });
      votes.set(vote.ballot, cast);
    } else if (type === SLSA_PROVENANCE_TYPE) {
      const statement = evidence.openAny(digest, type, entry, attestation);
      parseFormat(formats.slsaProvenance, statement.predicate, "provenance", "ERR_VERIFY_INVALID");
      for (const subject of statement.subject) {
        if (!known.has(subject.digest.sha256)) throw wrong(`${subject.name} is no artifact.`);
      }
    } else if (type === predicateType("gate-receipt")) {
      step.detail("gates", verifyGateReceipt(evidence, digest, entry));
    } else if (type === predicateType("rollback-proof")) {
      const { predicate } = evidence.open(digest, "rollback-proof", entry, () => attestation);
      expectEqual(predicate.run_id, entry.entry.run_id, "The rollback's run");
      expectEqual(predicate.restored_digest, predicate.after, "The restored bytes");
    }
  }
}

/** A quorum is ⌊2n/3⌋ + 1 distinct keys of the electorate that approve with equal claims. */
function verifyConsensus(
  entry: PlacedEntry,
  votes: ReadonlyMap<string, readonly { vote: Vote; keyId: string }[]>,
): void {
  const claimed = parseFormat(consensus, entry.entry.data, "consensus", "ERR_VERIFY_INVALID");
  const electorate = new Set(claimed.electorate);
  const quorum = Math.floor((2 * electorate.size) / 3) + 1;
  expectEqual(claimed.quorum, quorum, "The quorum");
  const byClaims = new Map<string, Set<string>>();
  for (const { vote, keyId } of votes.get(claimed.ballot) ?? []) {
    if (!electorate.has(vote.role) || vote.verdict !== "approve") continue;
    const claims = digestOf(vote.claims);
    byClaims.set(claims, (byClaims.get(claims) ?? new Set()).add(keyId));
  }
  const most = [...byClaims.values()].reduce((best, keys) => Math.max(best, keys.size), 0);
  const reached = entry.entry.event_type === "consensus.reached";
  if (reached && most < quorum) {
    throw wrong(`Consensus is claimed; ${most} keys agree to approve, the quorum is ${quorum}.`);
  }
  if (reached) expectEqual(claimed.approvals.length, most, "The approvals");
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

import {
  type EntryData,
  type PlacedEntry,
  predicateType,
  SLSA_PROVENANCE_TYPE,
} from "@sovereign/core";
import { type Evidence, epochOf } from "./evidence.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

/**
 * Step 3: every signature is whole, by the key of the right purpose and role, valid at that place
 * of the log. What the statements say is the matter of the later steps.
 */
export function verifySignatures(evidence: Evidence, step: StepRecorder): void {
  let epoch = 0;
  for (const [sequence, entry] of evidence.bundle.entries.entries()) {
    for (const [name, digest] of envelopesOf(entry)) {
      step.check(`entries[${sequence}].envelopes.${name}`, () => {
        const own = epochOf(entry);
        if (own < epoch) throw wrong(`The key epoch went back from ${epoch} to ${own}.`);
        if (own > evidence.keys.count) {
          throw wrong(`The key epoch ${own} is beyond the key log of ${evidence.keys.count}.`);
        }
        epoch = own;
        verifyOne(evidence, entry, name, digest);
      });
    }
  }
  step.check("envelopes", () => {
    const keyEvents = evidence.bundle.key_log.flatMap((entry) =>
      envelopesOf(entry).map(([, digest]) => digest),
    );
    const known = new Set([...evidence.usedEnvelopes, ...keyEvents]);
    const stray = Object.keys(evidence.bundle.envelopes).find((digest) => !known.has(digest));
    if (stray !== undefined) throw wrong(`No entry names the envelope ${stray}.`);
  });
  step.detail("keys", evidence.tallies.length);
}

function verifyOne(evidence: Evidence, entry: PlacedEntry, name: string, digest: string): void {
  switch (entry.entry.event_type) {
    case "run.admitted":
      evidence.open(digest, "config-snapshot", entry, () => ({ purpose: "config", role: null }));
      return;
    case "execution.authorized":
      verifyAuthorization(evidence, entry, name, digest);
      return;
    case "attestation.issued":
      verifyAttestation(evidence, entry, digest);
      return;
    case "approval.granted":
      verifyApproval(evidence, entry, digest);
      return;
    case "run.sealed":
      evidence.open(digest, "run-proof", entry, () => ({ purpose: "seal", role: null }));
      return;
    default:
      throw wrong(`${entry.entry.event_type} should name no envelopes.`);
  }
}

function verifyAuthorization(
  evidence: Evidence,
  entry: PlacedEntry,
  name: string,
  digest: string,
): void {
  if (name === "role") {
    evidence.open(digest, "role-assignment", entry, ({ role }) => ({ purpose: "role", role }));
  } else if (name === "binding") {
    evidence.open(digest, "policy-binding", entry, () => ({ purpose: "binding", role: null }));
  } else if (name.startsWith("approval_")) verifyApproval(evidence, entry, digest);
  else throw wrong(`An authorisation has no envelope called ${name}.`);
}

function verifyApproval(evidence: Evidence, entry: PlacedEntry, digest: string): void {
  evidence.open(digest, "approval", entry, ({ approver }) => ({
    purpose: "approval",
    role: approver,
  }));
}

function verifyAttestation(evidence: Evidence, entry: PlacedEntry, digest: string): void {
  const { predicate_type: type } = entry.entry.data as EntryData<"attestation.issued">;
  const attestation = { purpose: "attestation", role: null } as const;
  if (type === predicateType("vote")) {
    const { predicate, subject } = evidence.open(digest, "vote", entry, ({ role }) => ({
      purpose: "role",
      role,
    }));
    expectEqual(subject[0]?.digest.sha256, predicate.output_digest, "The vote's subject");
    expectEqual(predicate.run_id, entry.entry.run_id, "The vote's run");
  } else if (type === predicateType("rollback-proof")) {
    evidence.open(digest, "rollback-proof", entry, () => attestation);
  } else if (type === predicateType("gate-receipt")) {
    evidence.open(digest, "gate-receipt", entry, () => attestation);
  } else if (type === SLSA_PROVENANCE_TYPE) evidence.openAny(digest, type, entry, attestation);
  else throw wrong(`Attestations of type ${type} are not known.`);
}

/** The envelopes that an entry names, by name. */
export function envelopesOf(entry: PlacedEntry): [string, string][] {
  const named = entry.entry.data["envelopes"];
  if (typeof named !== "object" || named === null || Array.isArray(named)) return [];
  return Object.entries(named).filter((pair): pair is [string, string] => {
    return typeof pair[1] === "string";
  });
}

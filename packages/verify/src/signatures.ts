import {
  type PlacedEntry,
  predicateType,
  SLSA_PROVENANCE_TYPE,
  SOURCE_SUMMARY_TYPE,
} from "@sovereign/core";
import { type Evidence, epochOf } from "./evidence.ts";
import { ATTESTATION, type RunStatement } from "./statements.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

/**
 * Step 3: every signature is whole, by the key of the right purpose and role, valid at that place
 * of the log, over a statement about what the entry is about. What the statements say besides is
 * the matter of the later steps.
 */
export function verifySignatures(evidence: Evidence, step: StepRecorder): void {
  let epoch = 0;
  for (const [sequence, entry] of evidence.bundle.entries.entries()) {
    const named = envelopesOf(entry);
    step.check(`entries[${sequence}].envelopes`, () => {
      const digests = new Set(named.map(([, digest]) => digest));
      expectEqual(digests.size, named.length, "The number of different envelopes");
    });
    for (const [name, digest] of named) {
      step.check(`entries[${sequence}].envelopes.${name}`, () => {
        const own = epochOf(entry);
        if (own < epoch) throw wrong(`The key epoch went back from ${epoch} to ${own}.`);
        if (own > evidence.keys.count) {
          throw wrong(`The key epoch ${own} is beyond the key log of ${evidence.keys.count}.`);
        }
        epoch = own;
        verifyOne(evidence, entry, name, digest);
        evidence.expectTrusted(digest);
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
  const { event_type: event } = entry.entry;
  if (event === "attestation.issued") {
    verifyAttestation(evidence, entry, digest);
    return;
  }
  const kind = kindOf(event, name);
  if (kind === null) throw wrong(`${event} has no envelope called ${name}.`);
  evidence.open(digest, kind, entry);
}

/** Which statement an entry's envelope of that name holds; null where it may name none such. */
function kindOf(event: string, name: string): RunStatement | null {
  switch (`${event} ${name}`) {
    case "run.admitted config_snapshot":
      return "config-snapshot";
    case "execution.authorized role":
      return "role-assignment";
    case "execution.authorized binding":
      return "policy-binding";
    case "approval.granted approval":
      return "approval";
    case "run.sealed run_proof":
      return "run-proof";
    default:
      return event === "execution.authorized" && /^approval_[1-9]\d{0,2}$/.test(name)
        ? "approval"
        : null;
  }
}

const ATTESTED: ReadonlyMap<string, RunStatement> = new Map(
  (["vote", "rollback-proof", "gate-receipt", "tool-task", "tool-result"] as const).map((kind) => [
    predicateType(kind),
    kind,
  ]),
);

function verifyAttestation(evidence: Evidence, entry: PlacedEntry, digest: string): void {
  const { predicate_type: type } = evidence.events.data(entry, "attestation.issued");
  const kind = ATTESTED.get(type);
  if (kind !== undefined) evidence.open(digest, kind, entry);
  else if (type === SLSA_PROVENANCE_TYPE) evidence.openAny(digest, type, entry, ATTESTATION);
  else if (type === SOURCE_SUMMARY_TYPE) evidence.openSource(digest, entry, ATTESTATION);
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

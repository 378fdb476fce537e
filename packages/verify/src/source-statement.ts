import {
  digestOf,
  type JsonValue,
  parseEnvelope,
  parseStrictJson,
  type PlacedEntry,
  predicateType,
  SOURCE_SUMMARY_TYPE,
  type SourceReceipt,
  sourceStatementOf,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import { envelopesOf } from "./signatures.ts";
import { ATTESTATION } from "./statements.ts";
import { expectEqual, type StepRecorder, wrong } from "./step-recorder.ts";

/**
 * A statement about a commit is made again from the entries before it, and has to be the same.
 *
 * @returns the level, to tell
 */
export function verifySourceStatement(
  evidence: Evidence,
  digest: string,
  entry: PlacedEntry,
): string {
  const found = evidence.openSource(digest, entry, ATTESTATION);
  // What is made again reads all entries: what is not what its event demands is named by step 1.
  if (!evidence.events.sound) throw wrong("Nothing follows from entries that are malformed.");
  const { entries } = evidence.bundle;
  const before = entries.slice(0, entries.indexOf(entry));
  const receipt = receiptIn(evidence, before);
  const made = receipt === null ? null : sourceStatementOf(before, receipt);
  if (made === null) throw wrong("The run proves nothing of a commit, and a statement says so.");
  const [subject] = found.subject;
  const [expected] = made.subject;
  expectEqual(subject.digest.gitCommit, expected.digest.gitCommit, "The statement's commit");
  const [level] = found.predicate.verifiedLevels;
  const [proved] = made.predicate.verifiedLevels;
  expectEqual(level, proved, "The statement's level");
  const value = (statement: unknown): string => digestOf(statement as JsonValue);
  expectEqual(value(found), value(made), "The digest of the statement");
  return level;
}

/**
 * The file beside a bundle is what the bundle holds, and nothing else.
 * @param bytes untrusted: one envelope as a line of JSON; absent where there is none to look at
 */
export function verifySourceFile(
  evidence: Evidence,
  bytes: Uint8Array | undefined,
  step: StepRecorder,
): void {
  if (bytes === undefined) return;
  step.check("source", () => {
    const digest = digestOf(parseEnvelope(parseStrictJson(bytes)));
    const { entries } = evidence.bundle;
    const issued = entries.find((entry) => isAttestation(evidence, entry, SOURCE_SUMMARY_TYPE));
    const [expected] = issued === undefined ? [] : envelopesOf(issued).map(([, one]) => one);
    if (issued === undefined || expected === undefined) {
      throw wrong("The bundle holds no statement about a commit.");
    }
    // Whatever step 5 says of it: what is signed as something else is no statement about a commit.
    evidence.openSource(expected, issued, ATTESTATION);
    expectEqual(digest, expected, "The digest of the statement in the file");
  });
}

/** Of events with further fields, one may be called as this one is: the event says which it is. */
function isAttestation({ events }: Evidence, placed: PlacedEntry, type: string): boolean {
  if (placed.entry.event_type !== "attestation.issued") return false;
  return events.data(placed, "attestation.issued").predicate_type === type;
}

/** The receipt of the gates that stands before it; step 5 judges the receipt itself. */
function receiptIn(evidence: Evidence, entries: readonly PlacedEntry[]): SourceReceipt | null {
  let receipt: SourceReceipt | null = null;
  for (const entry of entries) {
    if (!isAttestation(evidence, entry, predicateType("gate-receipt"))) continue;
    const [sha256] = envelopesOf(entry).map(([, digest]) => digest);
    if (sha256 === undefined) continue;
    const { predicate } = evidence.open(sha256, "gate-receipt", entry);
    receipt = { status: predicate.status, sha256 };
  }
  return receipt;
}

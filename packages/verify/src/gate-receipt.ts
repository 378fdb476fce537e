import {
  base64Decode,
  digestOf,
  evaluateGates,
  gateInputDigests,
  isGateInput,
  isToolRun,
  type JsonValue,
  type PlacedEntry,
  readGateInputs,
  sha256Hex,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import { expectEqual, wrong } from "./step-recorder.ts";

/**
 * A receipt of gates: signed, over artifacts that the ledger names, and, where the bundle has their
 * bytes, judged again here. The verdicts that count are the ones found here.
 *
 * @returns what to tell of it
 */
export function verifyGateReceipt(evidence: Evidence, digest: string, entry: PlacedEntry): string {
  const { predicate } = evidence.open(digest, "gate-receipt", entry);
  const { status } = evidence.events.data(entry, "attestation.issued");
  if (status !== undefined) expectEqual(status, predicate.status, "The receipt's status");
  expectEqual(predicate.run_id, entry.entry.run_id, "The receipt's run");
  const { entries, artifacts } = evidence.bundle;
  const named = new Map(artifacts.map((one) => [one.name, one]));
  const contents = new Map<string, Uint8Array>();
  for (const [name, sha256] of Object.entries(predicate.inputs)) {
    const artifact = named.get(name);
    if (artifact?.sha256 !== sha256) throw wrong(`${name} is not what the gates judged.`);
    if (artifact.content === undefined) continue;
    const bytes = base64Decode(artifact.content);
    if (sha256Hex(bytes) !== sha256) throw wrong(`${name} has another digest.`);
    contents.set(name, bytes);
  }
  // A document that was left out of the judgement could be the one that fails it.
  const ofTool = isToolRun(entries);
  const judged = artifacts.filter((one) => isGateInput(one.name, ofTool)).map((one) => one.name);
  const left = judged.find((name) => !Object.hasOwn(predicate.inputs, name));
  if (left !== undefined) throw wrong(`${left} was left out of what the gates judged.`);
  if (contents.size < Object.keys(predicate.inputs).length) {
    return `${predicate.status}, by signature alone`;
  }
  // Gates read all entries: what is not what its event demands is named by step 1.
  if (!evidence.events.sound) throw wrong("The gates cannot judge entries that are malformed.");
  const before = entries.slice(0, entries.indexOf(entry));
  const found = evaluateGates(readGateInputs(contents, before));
  expectEqual(
    digestOf(gateInputDigests(contents, ofTool)),
    digestOf(predicate.inputs),
    "The inputs",
  );
  expectEqual(predicate.status, found.status, "The gates' status");
  const value = (results: unknown): string => digestOf(results as JsonValue);
  expectEqual(value(predicate.results), value(found.results), "The gates' verdicts");
  const verdicts = found.results.map((one) => one.verdict);
  const count = (verdict: string): number => verdicts.filter((one) => one === verdict).length;
  return `${found.status}, judged again: ${count("pass")} pass, ${count("fail")} fail`;
}

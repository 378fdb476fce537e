import {
  digestOf,
  formats,
  type JsonObject,
  type JsonValue,
  parseFormat,
  type PlacedEntry,
  SLSA_PROVENANCE_TYPE,
  type SlsaProvenance,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import type { DoneStep, RunStory } from "./run-story.ts";
import { ATTESTATION } from "./statements.ts";
import { expectEqual, wrong } from "./step-recorder.ts";

/**
 * A provenance says how a step made its files: the step ran in this run, the subjects are files that
 * it made, and inputs, programs, parameters and seed are those that were authorised.
 */
export function verifyProvenance(
  evidence: Evidence,
  digest: string,
  entry: PlacedEntry,
  story: RunStory,
): void {
  const statement = evidence.openAny(digest, SLSA_PROVENANCE_TYPE, entry, ATTESTATION);
  const found = parseFormat(
    formats.slsaProvenance,
    statement.predicate,
    "provenance",
    "ERR_VERIFY_INVALID",
  );
  const { invocationId: invocation, startedOn, finishedOn } = found.runDetails.metadata;
  const [run, ...names] = invocation.split("/");
  expectEqual(run, entry.entry.run_id, "The provenance's run");
  const step = story.steps.get(names.join("/"));
  const made = step?.completed?.artifacts;
  if (step === undefined || made === undefined)
    throw wrong(`The provenance is of ${invocation}, which did not end.`);
  const { stage } = evidence.events.data(entry, "attestation.issued");
  if (stage !== undefined) expectEqual(names.join("/"), stage, "The provenance's stage");
  if (startedOn > finishedOn) throw wrong("The provenance ends before it begins.");
  const files = new Map([...made].reverse().map((one) => [one.name, one.sha256]));
  for (const { name, digest: about } of statement.subject) {
    expectEqual(about.sha256, files.get(name), `The file ${name} that ${invocation} made`);
  }
  verifyBuild(found.buildDefinition, step);
}

function verifyBuild(build: SlsaProvenance["buildDefinition"], { params }: DoneStep): void {
  const { program, params: own, seed, programs_digest: programs, inputs } = params;
  const external: JsonValue = { program: program ?? null, params: own ?? null, seed: seed ?? null };
  const parameters = digestOf(build.externalParameters);
  expectEqual(parameters, digestOf(external), "The digest of the provenance's parameters");
  const resolved = build.resolvedDependencies.map(({ name, digest }): [string, string] => [
    name,
    digest["sha256"] ?? "",
  ]);
  if (new Set(resolved.map(([name]) => name)).size !== resolved.length) {
    throw wrong("The provenance names a dependency twice.");
  }
  const sources = resolved.filter(([name]) => name.startsWith("program/"));
  const files = sources.map(([name, digest]) => [name.slice("program/".length), digest]);
  const named = digestOf(Object.fromEntries(files) as JsonObject);
  expectEqual(named, programs, "The digest of the provenance's programs");
  const given = Object.values((inputs ?? {}) as Record<string, JsonObject>);
  const expected = new Map(given.map((one) => [one["artifact"], one["sha256"]]));
  // The installed libraries' digest stands in no entry: the signature alone vouches for it.
  const others = resolved.filter(
    ([name]) => !name.startsWith("program/") && name !== "node_modules",
  );
  expectEqual(others.length, expected.size, "The number of the provenance's inputs");
  for (const [name, digest] of others) {
    expectEqual(digest, expected.get(name), `The provenance's input ${name}`);
  }
}

/** A rollback's proof is what the rollback itself gave back, of the model and digest it was for. */
export function verifyRollbackProof(
  evidence: Evidence,
  digest: string,
  entry: PlacedEntry,
  story: RunStory,
): void {
  const { predicate } = evidence.open(digest, "rollback-proof", entry);
  expectEqual(predicate.run_id, entry.entry.run_id, "The rollback's run");
  expectEqual(predicate.restored_digest, predicate.after, "The restored bytes");
  const { stage } = evidence.events.data(entry, "attestation.issued");
  const done = story.rolledBack(digestOf(predicate), stage);
  if (done === undefined) throw wrong("No rollback of this run gave back what its proof says.");
  expectEqual(done.resource, predicate.model, "The model that was rolled back");
  expectEqual(done.params["sha256"], predicate.after, "The bytes that were asked for");
}

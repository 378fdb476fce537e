import {
  type ArtifactRef,
  canonicalBytes,
  type ComplianceBundle,
  digestOf,
  evaluateGates,
  formats,
  gateInputDigests,
  GENESIS_HASH,
  type JsonValue,
  type PlacedEntry,
  parseCanonicalJson,
  parseFormat,
  predicateType,
  readGateInputs,
  sha256Hex,
  SLSA_PROVENANCE_TYPE,
} from "@sovereign/core";
import type { RunSession } from "../../src/runs/index.ts";
import { EvidenceWorld, RUN } from "./evidence.ts";
import type { MemoryStore } from "./memory-store.ts";
import type { World } from "./world.ts";

/** The one document that gates read in these runs. */
const STATUS = canonicalBytes({
  schema_version: "1.0.0",
  run_id: RUN,
  status: "READY",
  open_questions: [],
});

/** A run with everything that a pipeline's evidence can hold. */
export function pipelineWorld(
  mode: "sovereign" | "compatible" = "sovereign",
): Promise<EvidenceWorld> {
  return EvidenceWorld.create(mode, RUN, 0, async (session, world) => {
    await train(session, world);
    await rollBack(session, world);
  });
}

/** A run whose documents gates have judged. */
export function executionWorld(): Promise<EvidenceWorld> {
  return EvidenceWorld.create("sovereign", RUN, 0, judgeByGates);
}

/** A goal whose plan has two steps that were done, and one that its condition left out. */
export function goalWorld(): Promise<EvidenceWorld> {
  const plan = {
    kind: "goal",
    steps: [
      { id: "train", skill: "model.train" },
      { id: "promote", skill: "model.promote" },
      { id: "tell", skill: "http_call" },
    ],
  };
  const skip = { step_id: "tell", skill: "http_call", reason: "its condition does not hold" };
  const more = (session: RunSession): Promise<void> => session.note("step.skipped", "INFO", skip);
  return EvidenceWorld.create("sovereign", RUN, 0, more, { plan });
}

/** A run that waited, was taken up again, and was stopped by the kill switch. */
export function stoppedWorld(): Promise<EvidenceWorld> {
  return EvidenceWorld.create("sovereign", RUN, 0, async (session, world) => {
    await session.suspend("approvals are missing");
    await session.note("run.resumed", "INFO", { from: "pending" });
    const reason = "The kill switch is tripped.";
    world.result = { status: "killed", code: "ERR_SCRAM_TRIPPED", reason };
    const action = { type: "model.rollback", resource: "m", params: { sha256: GENESIS_HASH } };
    await session.perform({ stepId: "back", role: "deployer", action }).catch(() => undefined);
    return "failed";
  });
}

/** The bundle, with the bytes of its documents. */
export async function bundleOf(world: EvidenceWorld): Promise<ComplianceBundle> {
  const bundle = await world.bundle();
  for (const one of bundle.artifacts) {
    if (one.name === NAME) one.content = Buffer.from(STATUS).toString("base64");
  }
  world.remake(bundle);
  return bundle;
}

const NAME = "01_intent/status.json";
const PROGRAMS = { "train.ts": "1".repeat(64) };

async function train(session: RunSession, world: World): Promise<void> {
  const file = { name: "again/model.json", sha256: "2".repeat(64), bytes: 3, media_type: "x" };
  world.result = completed([file], null);
  const inputs = { data: { artifact: "model.json", sha256: GENESIS_HASH } };
  const program = { program: "train.ts", params: { trees: 3 }, seed: 7 };
  const params = { ...program, programs_digest: digestOf(PROGRAMS), inputs };
  const action = { type: "model.train", resource: "m", params };
  await session.perform({ stepId: "again", role: "trainer", action });
  const at = world.clock.now().toISOString();
  const provenance = {
    buildDefinition: {
      buildType: "urn:sovereign:build:model-training:v1",
      externalParameters: program,
      internalParameters: {},
      resolvedDependencies: [
        { name: "model.json", digest: { sha256: GENESIS_HASH } },
        { name: "program/train.ts", digest: { sha256: PROGRAMS["train.ts"] } },
      ],
    },
    runDetails: {
      builder: { id: "urn:sovereign:builder:sandboxed-program:v1", version: {} },
      metadata: { invocationId: `${RUN}/again`, startedOn: at, finishedOn: at },
      byproducts: [],
    },
  };
  const subject = [{ name: file.name, sha256: file.sha256 }];
  const signed = await world.authority.issueProvenance(subject, provenance);
  await session.attest(SLSA_PROVENANCE_TYPE, () => Promise.resolve({ provenance: signed }), {
    stage: "again",
  });
}

async function rollBack(session: RunSession, world: World): Promise<void> {
  const at = world.clock.now().toISOString();
  const proof = {
    run_id: RUN,
    model: "m",
    before: "2".repeat(64),
    after: GENESIS_HASH,
    restored_digest: GENESIS_HASH,
    restored_bytes: 3,
    promoted_by_run: RUN,
    promoted_at: at,
    proved_at: at,
  };
  world.result = completed([], proof);
  const action = { type: "model.rollback", resource: "m", params: { sha256: GENESIS_HASH } };
  await session.perform({ stepId: "back", role: "deployer", action });
  const subject = [{ name: "m", sha256: GENESIS_HASH }];
  const kind = "rollback-proof";
  const signed = await world.authority.issue(kind, subject, proof, "attestation", null);
  await session.attest(predicateType(kind), () => Promise.resolve({ proof: signed }), {
    stage: "back",
  });
}

async function judgeByGates(session: RunSession, world: World, store: MemoryStore): Promise<void> {
  const sha256 = sha256Hex(STATUS);
  await session.recordEvidence([
    { name: NAME, sha256, bytes: STATUS.length, media_type: "application/json" },
  ]);
  const documents = new Map([[NAME, STATUS]]);
  const entries: PlacedEntry[] = [];
  for await (const { index, hash, bytes } of store.readStream("acme", RUN)) {
    entries.push({ index, hash, entry: parseFormat(formats.ledgerEntry, parse(bytes), "entry") });
  }
  const found = evaluateGates(readGateInputs(documents, entries));
  const evaluated_at = world.clock.now().toISOString();
  const receipt = { run_id: RUN, ...found, inputs: gateInputDigests(documents), evaluated_at };
  const subject = [{ name: RUN, sha256: digestOf(found.results) }];
  const kind = "gate-receipt";
  const signed = await world.authority.issue(kind, subject, receipt, "attestation", null);
  await session.attest(predicateType(kind), () => Promise.resolve({ receipt: signed }), {
    status: found.status,
  });
}

function parse(bytes: Uint8Array): JsonValue {
  return parseCanonicalJson(bytes);
}

function completed(artifacts: readonly ArtifactRef[], output: JsonValue): World["result"] {
  return { status: "completed", output, artifacts, usage: { wall_ms: 1, output_bytes: 3 } };
}

import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { base64Decode, canonicalBytes, GENESIS_HASH, hexDecode, utf8Decode } from "@sovereign/core";
import { parseTrustRoot } from "@sovereign/verify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createEntry, EMPTY_STREAM } from "../../src/ledger/index.ts";
import { freezePipeline } from "../../src/pipeline/index.ts";
import { ArtifactStore, exportBundle, readHarvest } from "../../src/runs/index.ts";
import { EvidenceWorld, RUN } from "../support/evidence.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { buildRun } from "../support/run-builder.ts";
import { World } from "../support/world.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-runs-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const coded = (code: string): unknown => expect.objectContaining({ code });

describe("artifacts", () => {
  it("are read back by digest, and refused when changed or gone", async () => {
    const store = new ArtifactStore(folder);
    const ref = await store.put("stage/model.json", Buffer.from("{}"), "application/json");
    expect(Buffer.from(await store.get(ref)).toString()).toBe("{}");
    writeFileSync(store.pathOf(ref), "[]");
    await expect(store.get(ref)).rejects.toMatchObject({ code: "ERR_ARTIFACT_CHANGED" });
    rmSync(store.pathOf(ref));
    await expect(store.get(ref)).rejects.toMatchObject({ code: "ERR_ARTIFACT_CHANGED" });
  });

  it("are never harvested through links, nor from folders", async () => {
    writeFileSync(join(folder, "secret"), "s");
    symlinkSync(join(folder, "secret"), join(folder, "link"));
    mkdirSync(join(folder, "dir"));
    for (const name of ["link", "dir", "missing"]) {
      await expect(readHarvest(join(folder, name))).rejects.toMatchObject({
        code: "ERR_OUTPUT_REFUSED",
      });
    }
  });
});

describe("a run that begins", () => {
  it.each(["two words", "", "a/b", "x".repeat(200)])(
    "is refused, before its first entry, under the name %j, which no verifier reads",
    async (name) => {
      const world = await World.create();
      const store = new MemoryStore({ keysElsewhere: true });
      const { session } = await buildRun(world, { store, plan: { name } });
      await expect(session.admit()).rejects.toMatchObject({ code: "ERR_FORMAT_INVALID" });
      expect((await store.streamHead("acme", RUN)).count).toBe(0);
      world.dispose();
    },
  );
});

describe("exporting a bundle", () => {
  const request = (ledger: MemoryStore) => ({
    ledger,
    installationId: `ins_${"a".repeat(20)}`,
    tenantId: "acme",
    runId: RUN,
    readArtifact: null,
  });

  it("needs a run, and a signed head over it", async () => {
    const store = new MemoryStore();
    await expect(exportBundle(request(store))).rejects.toMatchObject({ code: "ERR_RUN_NOT_FOUND" });
    const made = await EvidenceWorld.create();
    made.store.checkpointCovering = () => Promise.resolve(null);
    await expect(made.bundle()).rejects.toMatchObject({ code: "ERR_CHECKPOINT_MISSING" });
    made.dispose();
  });

  it("passes no altered row on as evidence", async () => {
    const made = await EvidenceWorld.create();
    const row = made.store.logs.get("acme")?.at(-1);
    if (row !== undefined) Object.assign(row, { hash: GENESIS_HASH });
    await expect(made.bundle()).rejects.toMatchObject({ code: "ERR_LEDGER_CORRUPT" });
    made.dispose();
  });
});

describe("freezing a pipeline", () => {
  const PIPELINE = `name: p
version: 1.0.0
seed: 1
dataset: { name: d, path: data.csv, sha256: "${"0".repeat(64)}", licence: CC0-1.0 }
programs: programs
stages:
  - { name: export, type: audit_export, role: auditor, formats: [json] }
governance:
  enforcement_level: strict
  policy_binding_required: true
  role_signatures_required: true
  policy: policy.yaml
  approvals: { required: 1, roles: [a] }
`;
  const freeze = () => freezePipeline(join(folder, "pipeline.yaml"), join(folder, "run"), []);

  it("refuses files that are missing, links, or not the declared bytes", async () => {
    await expect(freeze()).rejects.toMatchObject({ code: "ERR_PIPELINE_FILE" });
    writeFileSync(join(folder, "pipeline.yaml"), PIPELINE);
    await expect(freeze()).rejects.toMatchObject({ code: "ERR_PIPELINE_FILE" });
    mkdirSync(join(folder, "programs"));
    writeFileSync(join(folder, "policy.yaml"), "policy_id: p\nschema_version: 1.0.0\n");
    symlinkSync("/etc/passwd", join(folder, "data.csv"));
    await expect(freeze()).rejects.toMatchObject({ code: "ERR_PIPELINE_FILE" });
    rmSync(join(folder, "data.csv"));
    writeFileSync(join(folder, "data.csv"), "other bytes");
    await expect(freeze()).rejects.toThrow(/data\.csv: expected SHA-256/);
    symlinkSync("/etc/passwd", join(folder, "programs", "link.ts"));
    await expect(freeze()).rejects.toThrow(/plain file/);
  });
});

describe("freezing a pipeline with programs", () => {
  const stage = (program: string): string =>
    `  - { name: prep, type: data_preparation, role: r, program: ${program}, inputs: { data: dataset/data }, outputs: [a.json] }`;
  const write = (program: string): void => {
    const data = "a,b\n";
    const sha256 = createHash("sha256").update(data).digest("hex");
    const text = `name: p
version: 1.0.0
seed: 1
dataset: { name: d, path: data.csv, sha256: "${sha256}", licence: CC0-1.0 }
programs: programs
stages:
${stage(program)}
governance:
  enforcement_level: strict
  policy_binding_required: true
  role_signatures_required: true
  policy: policy.yaml
  approvals: { required: 1, roles: [a] }
`;
    mkdirSync(join(folder, "programs"), { recursive: true });
    writeFileSync(join(folder, "programs", "prepare.ts"), "1;\n");
    writeFileSync(join(folder, "data.csv"), data);
    writeFileSync(join(folder, "policy.yaml"), "policy_id: p\nschema_version: 1.0.0\n");
    writeFileSync(join(folder, "pipeline.yaml"), text);
  };
  const freeze = () => freezePipeline(join(folder, "pipeline.yaml"), join(folder, "run"), []);

  it("tells a misspelt program before any stage has run", async () => {
    write("prepair.ts");
    const refused = freeze();
    await expect(refused).rejects.toMatchObject({ code: "ERR_PIPELINE_FILE" });
    await expect(refused).rejects.toThrow(
      "program prepair.ts in programs; found prepare.ts. Did you mean prepare.ts?",
    );
    write("prepare.ts");
    expect((await freeze()).pipeline.stages).toHaveLength(1);
  });

  it("reads no file that is larger than any that a person hands in", async () => {
    write("prepare.ts");
    for (const name of ["data.csv", "policy.yaml", "pipeline.yaml", "programs/prepare.ts"]) {
      truncateSync(join(folder, name), 8 * 1024 ** 3);
      await expect(freeze()).rejects.toThrow(/at most \d+ bytes, found 8589934592/);
      rmSync(join(folder, "run"), { recursive: true, force: true });
      write("prepare.ts");
    }
  });
});

describe("small parts", () => {
  it("refuse an entry that is too large, and odd encodings", () => {
    const fields = {
      stream: RUN,
      tenantId: "acme",
      runId: RUN,
      timestamp: "2026-01-01T00:00:00.000Z",
      eventType: "test.noted",
      severity: "INFO",
      data: { text: "x".repeat(70_000) },
    } as const;
    expect(() => createEntry(EMPTY_STREAM, fields)).toThrow(coded("ERR_ENTRY_TOO_LARGE"));
    for (const text of ["A", "AB=C", "AB==CD", "AB="]) {
      expect(() => base64Decode(text)).toThrow(coded("ERR_BYTES_MALFORMED"));
    }
    expect(() => hexDecode("AB")).toThrow(coded("ERR_BYTES_MALFORMED"));
    expect(() => utf8Decode(Uint8Array.of(0xff))).toThrow(coded("ERR_BYTES_MALFORMED"));
  });

  it("refuse a trust root of another shape", () => {
    const bytes = canonicalBytes({ format: "other" });
    expect(() => parseTrustRoot(bytes)).toThrow(coded("ERR_TRUST_ROOT_MALFORMED"));
  });
});

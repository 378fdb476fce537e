import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, type JsonValue, parseStrictJson, SovereignError } from "@sovereign/core";
import { afterAll, describe, expect, it } from "vitest";
import { badRefusals, type Door } from "../../verify/test/support/bad-documents.ts";
import { parseBatchFile } from "../src/batch/index.ts";
import { issueTaskPack, parseResultPack, parseTaskPack } from "../src/coding/index.ts";
import { parseExecRequest } from "../src/executor/index.ts";
import { loadConfig } from "../src/home/config.ts";
import { parseExport } from "../src/home/installation-file.ts";
import { readNodeFile } from "../src/home/node-file.ts";
import { parsePipeline } from "../src/pipeline/index.ts";
import { parsePolicy, readPlainYaml } from "../src/policy/index.ts";
import { parseSignal } from "../src/scram/signal-file.ts";
import { applyAnswers } from "../src/services/exec/questions.ts";

const ROOT = join(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "sovereign-bad-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const json = (path: string): JsonValue => parseStrictJson(readFileSync(join(ROOT, path)));
const yaml = (path: string): JsonValue =>
  readPlainYaml(readFileSync(join(ROOT, path)), path, {
    bytesMax: 1 << 20,
    tooLarge: "ERR_POLICY_TOO_LARGE",
    syntax: "ERR_POLICY_SYNTAX",
  }).value as JsonValue;

const POLICY = ["ERR_POLICY_SYNTAX", "ERR_POLICY_INVALID", "ERR_POLICY_TOO_LARGE"];
const PIPELINE = ["SYNTAX", "INVALID", "REFERENCE", "TOO_LARGE"].map(
  (one) => `ERR_PIPELINE_${one}`,
);
const JSON_CODES = ["MALFORMED", "TOO_DEEP", "DUPLICATE_KEY", "TOO_LARGE"].map(
  (one) => `ERR_JSON_${one}`,
);

const question: JsonObject = {
  question_id: "q_one",
  question: "Which?",
  why: "x",
  blocking_level: "blocking",
  answer_format: "text",
};
const pack = { question_pack_id: "qpack_one", questions: [question] };
const answers: JsonObject = {
  answer_pack_id: "apack_one",
  question_pack_id: "qpack_one",
  answers: [{ question_id: "q_one", answer: "This.", evidence_refs: ["a.md"] }],
  answered_by: "operator",
  answered_at: "2026-01-01T00:00:00.000Z",
};

function inFolder(name: string, bytes: Uint8Array, mode = 0o600): void {
  writeFileSync(join(folder, name), bytes);
  chmodSync(join(folder, name), mode);
}

const task = issueTaskPack(
  {
    agent: "claude",
    version: "2.1.329",
    model: "m",
    task: "Do it",
    verify: ["npm test"],
    timeoutSeconds: 60,
    budgetMicrousd: 1,
    turnsMax: null,
    scope: ["src"],
    forbid: ["*.pem"],
    review: false,
  },
  {
    branch: "main",
    commit: "0".repeat(40),
    policyDigest: "1".repeat(64),
    at: "2026-01-01T00:00:00Z",
  },
);
const result: JsonObject = {
  tool_result_pack_id: "trpack_one",
  tool_task_pack_id: "ttpack_one",
  schema_version: "1.0.0",
  tool_type: "codex",
  status: "success",
  diffs: [
    {
      file_path: "a.txt",
      diff_type: "added",
      patch: "x",
      checksum_before: null,
      checksum_after: "2".repeat(64),
    },
  ],
  artifacts: {
    files_created: ["a.txt"],
    files_modified: [],
    files_deleted: [],
    commits: [{ commit_hash: "1".repeat(40), message: "x", files_changed: 1 }],
  },
  test_logs: { build_output: null, test_output: "ok", lint_output: null },
  run_metadata: {
    tool_version: "1",
    model_name: "m",
    execution_time_seconds: 1.5,
    cost_usd: 0.1,
    tokens_used: 1,
  },
  policy_attestation: { scope_compliant: true, red_lines_respected: true, violations: [] },
  started_at: "2026-01-01T00:00:00Z",
  completed_at: "2026-01-01T00:00:00Z",
  error: null,
};

const DOORS: readonly Door[] = [
  {
    name: "task pack",
    genuine: parseStrictJson(task.bytes),
    form: "json",
    read: (bytes) => parseTaskPack(bytes, "task.json"),
    codes: ["ERR_TOOL_PACK_INVALID"],
    places: 15,
  },
  {
    name: "result pack",
    genuine: result,
    form: "json",
    read: (bytes) => parseResultPack(bytes, "result.json"),
    codes: ["ERR_TOOL_PACK_INVALID"],
    places: 15,
  },
  {
    name: "request",
    genuine: json("examples/exec/request.json"),
    form: "json",
    read: (bytes) => parseExecRequest(bytes, "request.json"),
    codes: ["ERR_REQUEST_INVALID"],
  },
  {
    name: "policy in JSON",
    genuine: json("examples/exec/policy.json"),
    form: "json",
    read: (bytes) => parsePolicy(bytes, "policy.json"),
    codes: POLICY,
  },
  {
    name: "policy in YAML",
    genuine: yaml("examples/iron-path/policy.yaml"),
    form: "yaml",
    read: (bytes) => parsePolicy(bytes, "policy.yaml"),
    places: 15,
    codes: POLICY,
  },
  {
    name: "pipeline",
    genuine: yaml("examples/iron-path/pipeline.yaml"),
    form: "yaml",
    read: (bytes) => parsePipeline(bytes, "pipeline.yaml"),
    codes: PIPELINE,
    places: 20,
  },
  {
    name: "batch",
    genuine: yaml("examples/batch/batch.yaml"),
    form: "yaml",
    read: (bytes) => parseBatchFile(bytes, "batch.yaml"),
    places: 15,
    codes: ["ERR_BATCH_INVALID"],
  },
  {
    name: "config.yaml",
    genuine: { scram: { max_termination_ms: 500, require_dual_key: true, linger_seconds: 2 } },
    form: "yaml",
    read: (bytes) => {
      inFolder("config.yaml", bytes);
      return loadConfig(folder);
    },
    codes: ["ERR_DATA_FOLDER", "ERR_SCRAM_CONFIG"],
    // As without the file, the defaults hold.
    allows: ["nothing", "a space", "instead of all: null"],
  },
  {
    name: "node file",
    genuine: {
      node_id: `nod_${"a".repeat(20)}`,
      shared: false,
      joined: { at: "2026-01-01T00:00:00.000Z", index: 1, hash: "0".repeat(64) },
    },
    form: "json",
    read: (bytes) => {
      inFolder("node.json", bytes);
      return readNodeFile(folder);
    },
    codes: ["ERR_DATA_FOLDER"],
  },
  {
    name: "exported installation",
    genuine: {
      format: "sovereign.installation",
      schema_version: "1.0.0",
      installation_id: `ins_${"a".repeat(20)}`,
      created_at: "2026-01-01T00:00:00.000Z",
      root_keys: ["0".repeat(64)],
    },
    form: "json",
    read: (bytes) => parseExport(parseStrictJson(bytes), "export.json"),
    codes: [...JSON_CODES, "ERR_FORMAT_INVALID"],
  },
  {
    name: "answers",
    genuine: answers,
    form: "json",
    read: (bytes) => applyAnswers(folder, pack as never, bytes),
    codes: ["ERR_ANSWERS_INVALID"],
  },
  {
    name: "order or call of the kill switch",
    genuine: {
      command: "SCRAM_ACTIVATE",
      timestamp: "2026-01-01T00:00:00.000Z",
      pid: 7,
      reason: "operator_command",
      why: "a test",
    },
    form: "json",
    read: (bytes) => {
      const signal = parseSignal(bytes);
      if (signal.kind !== "unreadable") return signal;
      throw new SovereignError("ERR_SCRAM_ORDER_MALFORMED", signal.why);
    },
    codes: ["ERR_SCRAM_ORDER_MALFORMED"],
  },
];

describe("a document that is bad in one way", { timeout: 120_000 }, () => {
  it.each(DOORS)("is refused with its place: $name", async (door) => {
    await door.read(Buffer.from(JSON.stringify(door.genuine)));
    const { cases, problems } = await badRefusals(door);
    expect(problems.slice(0, 20)).toEqual([]);
    expect(cases).toBeGreaterThan(60);
  });
});

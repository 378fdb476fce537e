import {
  canonicalBytes,
  digestOf,
  type EntryData,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  sha256Hex,
} from "@sovereign/core";
import type { Forgery } from "../../packages/runtime/test/support/forger.ts";
import { all, inside, nothing, type Row, sealed } from "./row.ts";

const TASK = "01_intent/tool_task_pack.json";
const RESULT = "04_verification/tool_result_pack.json";
const CHECKSUMS = "audit/checksums.json";

type Change = (document: JsonObject) => void;

/** For each gate of tools, a lie in what it judges. */
const LIES: readonly (readonly [gate: string, what: string, name: string, change: Change])[] = [
  ["TL-A", "a task pack without acceptance", TASK, withoutAcceptance],
  ["TL-A", "a task pack of another scope", TASK, at("work_scope.allowed_directories", ["."])],
  ["TL-A", "a task pack of another task", TASK, at("steps.0.goal", "Make it all")],
  ["TL-A", "a task pack of another commit", TASK, at("repo_state.commit_hash", "f".repeat(40))],
  ["TL-B", "a commit of somebody's", RESULT, at("artifacts.commits.0.commit_hash", "f".repeat(40))],
  ["TL-C", "a diff left out", RESULT, at("diffs", [])],
  ["TL-C", "another digest of a file", RESULT, at("diffs.0.checksum_after", "f".repeat(64))],
  ["TL-C", "another log of a test", RESULT, at("test_logs.test_output", "all is well")],
  ["TL-C", "a test that is said to have failed", RESULT, at("test_logs.commands.0.passed", false)],
  ["TL-C", "a disagreement left out", RESULT, at("disagreements", [])],
  ["TL-C", "another claim of the agent's", RESULT, at("claims.text", "I made nothing.")],
  ["TL-D", "a violation left out", RESULT, at("policy_attestation.violations", [])],
  ["TL-D", "a changed file out of the scope", CHECKSUMS, at("steps.0.files.0.path", "src/b.ts")],
  ["TL-E", "another version of the tool", RESULT, at("run_metadata.tool_version", "2.1.330")],
  ["TL-E", "another cost", RESULT, at("run_metadata.cost_usd", 0)],
  ["TL-F", "an approval more", RESULT, at("reviewer_signoff.approvals", 9)],
  ["TL-F", "another reviewer", RESULT, at("reviewer_signoff.reviewers", ["nobody"])],
];

/** Every field of a result pack, another. */
const FIELDS: readonly (readonly [string, JsonValue])[] = [
  ["tool_result_pack_id", "trpack_other"],
  ["tool_task_pack_id", "ttpack_other"],
  ["schema_version", "1.0.1"],
  ["run_id", `run_${"b".repeat(20)}`],
  ["tool_type", "codex"],
  ["status", "failed"],
  ["diffs", []],
  ["artifacts.files_created", []],
  ["artifacts.files_modified", ["b.txt"]],
  ["artifacts.files_deleted", ["b.txt"]],
  ["artifacts.commits", []],
  ["test_logs.commands", []],
  ["run_metadata.model_name", "other"],
  ["run_metadata.tokens_used", 1],
  ["run_metadata.prompt_hash", "f".repeat(64)],
  ["policy_attestation.scope_compliant", false],
  ["policy_attestation.red_lines_respected", false],
  ["reviewer_signoff", null],
  ["started_at", "2025-01-01T00:00:00.000Z"],
  ["completed_at", "2027-01-01T00:00:00.000Z"],
  ["error", { code: "x", message: "x" }],
];

/** Forgeries of what a tool was asked, and of what came of it. */
export const OF_TOOLS: readonly Row[] = [
  ...LIES.flatMap(([gate, what, name, change]): Row[] => [
    { ...nothing(`${gate}: ${what}`, bare(name, change)), base: "agent" },
    sealed(
      `${gate}: ${what}, named anew`,
      (one) => {
        rename(one, name, change);
      },
      "agent",
    ),
    all(`${gate}: ${what}, signed anew`, (one) => signAnew(one, name, change), "agent"),
  ]),
  ...FIELDS.map(([path, value]) =>
    all(
      `another ${path} in a result pack`,
      (one) => signAnew(one, RESULT, at(path, value)),
      "agent",
    ),
  ),
  sealed(
    "the task's statement left out",
    (one) => {
      drop(one, "tool-task");
    },
    "agent",
  ),
  sealed(
    "the result's statement left out",
    (one) => {
      drop(one, "tool-result");
    },
    "agent",
  ),
  sealed(
    "the task's statement twice",
    (one) => {
      twice(one, "tool-task");
    },
    "agent",
  ),
  sealed("both packs left out", unrecord, "agent"),
  all(
    "both packs left out, and the gates of tools",
    async (one) => {
      unrecord(one);
      await judgeAnew(one, (predicate) => {
        const results = predicate["results"] as JsonObject[];
        const kept = results.filter(isOfAllRuns);
        predicate["results"] = kept;
        const inputs = { ...inside(predicate, "inputs") };
        for (const name of [TASK, RESULT, "03_executor/logs/step_01.verify_1.log"]) {
          Reflect.deleteProperty(inputs, name);
        }
        predicate["inputs"] = inputs;
      });
    },
    "agent",
  ),
  all(
    "the gates of tools left out of the receipt",
    (one) =>
      judgeAnew(one, (predicate) => {
        const results = predicate["results"] as JsonObject[];
        predicate["results"] = results.filter(isOfAllRuns);
      }),
    "agent",
  ),
  all(
    "a task signed by another role",
    (one) =>
      one.resign(statementOf(one, "tool-task"), "task_pack", () => undefined, ["role", "deployer"]),
    "agent",
  ),
  all(
    "a task of another pack",
    (one) =>
      one.resign(
        statementOf(one, "tool-task"),
        "task_pack",
        (statement) => {
          statement.predicate["sha256"] = "f".repeat(64);
          if (statement.subject[0] !== undefined)
            statement.subject[0].digest.sha256 = "f".repeat(64);
        },
        ["role", "trainer"],
      ),
    "agent",
  ),
  all(
    "a result signed by the key of another purpose",
    (one) =>
      one.resign(statementOf(one, "tool-result"), "result_pack", () => undefined, ["seal", null]),
    "agent",
  ),
  all(
    "a task of another run",
    (one) =>
      one.resign(
        statementOf(one, "tool-task"),
        "task_pack",
        ({ predicate }) => (predicate["run_id"] = `run_${"b".repeat(20)}`),
        ["role", "trainer"],
      ),
    "agent",
  ),
];

function isOfAllRuns({ gate }: JsonObject): boolean {
  return typeof gate === "string" && !gate.startsWith("TL-");
}

function withoutAcceptance(document: JsonObject): void {
  delete document["acceptance"];
}

function at(path: string, value: JsonValue): Change {
  return (document) => {
    const keys = path.split(".");
    let holder = document;
    for (const key of keys.slice(0, -1)) holder = holder[key] as JsonObject;
    holder[keys.at(-1) ?? ""] = value;
  };
}

/** The bytes alone: whoever has no key can change no entry. */
function bare(name: string, change: Change): (forgery: Forgery) => void {
  return (forgery) => {
    const artifact = artifactOf(forgery, name);
    artifact.content = changed(artifact.content, change);
    forgery.recount();
  };
}

/** The bytes, and the entry that names them. */
function rename(forgery: Forgery, name: string, change: Change): void {
  const artifact = artifactOf(forgery, name);
  const content = changed(artifact.content, change);
  const bytes = Buffer.from(content, "base64");
  Object.assign(artifact, { content, sha256: sha256Hex(bytes), bytes: bytes.length });
  for (const { entry } of forgery.bundle.entries) {
    if (entry.event_type !== "evidence.recorded") continue;
    entry.data = structuredClone(entry.data);
    const { artifacts } = entry.data as EntryData<"evidence.recorded">;
    const ref = artifacts.find((one) => one.name === name);
    if (ref !== undefined) Object.assign(ref, { sha256: artifact.sha256, bytes: artifact.bytes });
  }
}

/** The same, and every statement about it; the verdicts stay what they were. */
async function signAnew(forgery: Forgery, name: string, change: Change): Promise<void> {
  rename(forgery, name, change);
  const { sha256 } = artifactOf(forgery, name);
  if (name === RESULT) {
    await forgery.resign(
      statementOf(forgery, "tool-result"),
      "result_pack",
      (statement) => {
        statement.predicate["sha256"] = sha256;
        if (statement.subject[0] !== undefined) statement.subject[0].digest.sha256 = sha256;
      },
      ["attestation", null],
    );
  }
  await judgeAnew(forgery, (predicate) => {
    predicate["inputs"] = { ...inside(predicate, "inputs"), [name]: sha256 };
  });
}

async function judgeAnew(forgery: Forgery, change: Change): Promise<void> {
  await forgery.resign(
    statementOf(forgery, "gate-receipt"),
    "receipt",
    (statement) => {
      change(statement.predicate);
      const [subject] = statement.subject;
      const { results = null } = statement.predicate;
      if (subject !== undefined) subject.digest.sha256 = digestOf(results);
    },
    ["attestation", null],
  );
}

function unrecord(forgery: Forgery): void {
  for (const { entry } of forgery.bundle.entries) {
    if (entry.event_type !== "evidence.recorded") continue;
    const { artifacts } = entry.data as EntryData<"evidence.recorded">;
    entry.data = { artifacts: artifacts.filter((one) => ![TASK, RESULT].includes(one.name)) };
  }
}

function drop(forgery: Forgery, kind: string): void {
  const { entries } = forgery.bundle;
  entries.splice(entries.indexOf(statementOf(forgery, kind)), 1);
}

function twice(forgery: Forgery, kind: string): void {
  const { entries } = forgery.bundle;
  const found = statementOf(forgery, kind);
  entries.splice(entries.indexOf(found), 0, structuredClone(found));
}

function statementOf({ bundle }: Forgery, kind: string): Forgery["bundle"]["entries"][number] {
  const found = bundle.entries.find(
    ({ entry }) => entry.data["predicate_type"] === `urn:sovereign:attestation:${kind}:v1`,
  );
  if (found === undefined) throw new Error(`there is no ${kind}`);
  return found;
}

function artifactOf({ bundle }: Forgery, name: string): Forgery["bundle"]["artifacts"][number] {
  const found = bundle.artifacts.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}

function changed(content: string | undefined, change: Change): string {
  const document = parseStrictJson(Buffer.from(content ?? "", "base64")) as JsonObject;
  change(document);
  return Buffer.from(canonicalBytes(document)).toString("base64");
}

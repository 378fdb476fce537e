import { utf8Decode, utf8Encode } from "../bytes/index.ts";
import { sha256Hex } from "../digest/index.ts";
import { isSovereignError } from "../errors/index.ts";
import {
  type Checksums,
  type ExecutionResult,
  type JsonValue,
  SCHEMA_VERSION,
  type ToolResultPack,
  type ToolTaskPack,
  type ToolViolation,
} from "../formats/index.ts";
import { cutText } from "../text/index.ts";
import { patchSections } from "./patch-sections.ts";
import { commandLogOf, type ToolCommand, type ToolFacts, type ToolRefusal } from "./run-facts.ts";
import { scopeJudge } from "./work-scope.ts";

/** All that a result pack is computed from. */
export interface ToolEvidence {
  readonly runId: string;
  readonly task: ToolTaskPack;
  readonly facts: ToolFacts;
  readonly result: ExecutionResult;
  readonly checksums: Checksums | null;
  /** Whole, by the artifact's name. */
  readonly patches: ReadonlyMap<string, Uint8Array>;
  /** What commands said, by the artifact's name. */
  readonly logs: ReadonlyMap<string, Uint8Array>;
}

const PATCH_CHARS_MAX = 64 * 1024;
const PATCHES_CHARS_MAX = 1024 * 1024;
const LOG_BYTES_MAX = 8 * 1024;
const VIOLATIONS_MAX = 200;
const LOGS_MAX = 50;

/**
 * What a tool's work came to, from the evidence alone: the same evidence gives the same pack, to the
 * byte, whoever computes it. What the tool said of itself stands beside it, as claims.
 *
 * INVARIANT: what it computes of evidence that was recorded never changes, for gates compare it with
 * the pack in that evidence. What is to be computed otherwise needs another `schema_version`.
 */
export function resultPackOf(evidence: ToolEvidence): ToolResultPack {
  const { runId, task, facts, result } = evidence;
  const violations = violationsOf(evidence);
  const claims = claimsOf(facts);
  return {
    tool_result_pack_id: `trpack_${runId.slice("run_".length)}`,
    tool_task_pack_id: task.tool_task_pack_id,
    schema_version: SCHEMA_VERSION,
    run_id: runId,
    tool_type: task.tool_type,
    status: statusOf(result),
    diffs: diffsOf(evidence),
    artifacts: artifactsOf(evidence),
    test_logs: logsOf(evidence),
    run_metadata: metadataOf(facts),
    policy_attestation: attestationOf(violations),
    reviewer_signoff: signoffOf(task, facts),
    claims,
    disagreements: disagreementsOf(claims, facts),
    started_at: result.started_at,
    completed_at: result.ended_at,
    error: errorOf(result),
  };
}

function statusOf({ status, code }: ExecutionResult): ToolResultPack["status"] {
  if (status === "success") return "success";
  return code === "ERR_AGENT_DISCARDED" ? "cancelled" : "failed";
}

function errorOf({ status, code, reason }: ExecutionResult): ToolResultPack["error"] {
  if (status === "success") return null;
  return { code: cutText(code ?? status, 80), message: cutText(reason ?? status, 2000) };
}

type FileChange = Checksums["steps"][number]["files"][number];

/** Of a file that several steps changed, from before the first to after the last. */
function changesOf({ checksums }: ToolEvidence): FileChange[] {
  const changes = new Map<string, FileChange>();
  for (const { path, before, after } of (checksums?.steps ?? []).flatMap((one) => one.files)) {
    const known = changes.get(path);
    const first = known === undefined ? before : known.before;
    const status = first === null ? "added" : after === null ? "deleted" : "modified";
    changes.set(path, { path, status, before: first, after });
  }
  return [...changes.values()].filter((one) => one.before !== null || one.after !== null);
}

function diffsOf(evidence: ToolEvidence): ToolResultPack["diffs"] {
  const texts = patchTexts(evidence);
  return changesOf(evidence).map(({ path, status, before, after }) => ({
    file_path: path,
    diff_type: status,
    patch: texts.get(path) ?? null,
    checksum_before: before,
    checksum_after: after,
  }));
}

/** What patches say of each file, where one step alone changed it and it is text of some length. */
function patchTexts(evidence: ToolEvidence): Map<string, string> {
  const texts = new Map<string, string>();
  const many = new Set<string>();
  const read = new Map<string, ReturnType<typeof patchSections>>();
  let total = 0;
  for (const { step_id: step, files } of evidence.checksums?.steps ?? []) {
    const patch = evidence.patches.get(`patches/${step}.patch`) ?? new Uint8Array();
    // A step that stands there twice has one patch, which is cut up once.
    const sections = read.get(step) ?? patchSections(patch);
    read.set(step, sections);
    for (const { path } of files) {
      const text = textOf(sections.get(bytesAsText(path)));
      if (texts.has(path)) many.add(path);
      if (text === null || total + text.length > PATCHES_CHARS_MAX) continue;
      total += text.length;
      texts.set(path, text);
    }
  }
  for (const path of many) texts.delete(path);
  return texts;
}

function textOf(bytes: Uint8Array | undefined): string | null {
  if (bytes === undefined || bytes.length > PATCH_CHARS_MAX) return null;
  try {
    return utf8Decode(bytes);
  } catch (error) {
    if (isSovereignError(error)) return null;
    throw error;
  }
}

/** As git's own names are read: each character one byte. */
function bytesAsText(path: string): string {
  let text = "";
  for (const byte of utf8Encode(path)) text += String.fromCharCode(byte);
  return text;
}

function artifactsOf(evidence: ToolEvidence): ToolResultPack["artifacts"] {
  const { result, facts, checksums } = evidence;
  const changes = changesOf(evidence);
  const paths = (status: string): string[] =>
    changes.filter((one) => one.status === status).map((one) => one.path);
  const counts = new Map<string, number>();
  for (const { step_id: step, files } of checksums?.steps ?? []) {
    if (!counts.has(step)) counts.set(step, files.length);
  }
  return {
    files_created: paths("added"),
    files_modified: paths("modified"),
    files_deleted: paths("deleted"),
    commits: result.steps.map((step) => ({
      commit_hash: step.commit,
      message: facts.messages.get(step.step_id) ?? "",
      files_changed: counts.get(step.step_id) ?? 0,
    })),
  };
}

function logsOf({ facts, logs }: ToolEvidence): ToolResultPack["test_logs"] {
  const { commands } = facts;
  const said = (kinds: readonly string[]): string | null => {
    const own = commands.filter((one) => kinds.includes(one.kind)).slice(-LOGS_MAX);
    return own.length === 0 ? null : own.map((one) => logText(one, logs)).join("\n");
  };
  return {
    build_output: said(["build"]),
    test_output: said(["test", "verify"]),
    lint_output: said(["lint"]),
    commands: commands.map(({ argv, passed, stepId }) => ({
      argv: argv.slice(0, 1001).map((word) => cutText(word, 8000)),
      passed,
      log_sha256: logDigest(logs.get(commandLogOf(stepId))),
    })),
  };
}

function logDigest(bytes: Uint8Array | undefined): string | null {
  return bytes === undefined ? null : sha256Hex(bytes);
}

/** The command and the last of what it said. What is no UTF-8 in it is marked. */
function logText({ argv, stepId, passed }: ToolCommand, logs: ToolEvidence["logs"]): string {
  const bytes = logs.get(commandLogOf(stepId)) ?? new Uint8Array();
  const said = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(-LOG_BYTES_MAX));
  return `$ ${cutText(argv.join(" "), 1000)}\n${said}[${passed ? "passed" : "did not pass"}]\n`;
}

function metadataOf({ asked, done, calls }: ToolFacts): ToolResultPack["run_metadata"] {
  const { version, program_sha256: program } = done?.output ?? {};
  const { model, sha256 } = asked?.params ?? {};
  return {
    tool_version: typeof version === "string" ? cutText(version, 60) : null,
    program_sha256: digestIn(program),
    model_name: typeof model === "string" ? cutText(model, 200) : null,
    execution_time_seconds: done === null ? null : done.wallMs / 1000,
    cost_usd: calls.unpriced > 0 ? null : calls.microusd / 1_000_000,
    tokens_used: calls.tokens,
    prompt_hash: digestIn(sha256),
    seed: null,
  };
}

function digestIn(value: JsonValue | undefined): string | null {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value) ? value : null;
}

/** Refusals of a change to a file: the scope, the policy's paths, its sizes. */
const SCOPE_RULES: ReadonlySet<string> = new Set([
  "work_scope",
  "ERR_CHANGE_REFUSED",
  "ERR_CI_FILE_REFUSED",
  "ERR_CHANGE_FILES",
  "ERR_CHANGE_FILE_SIZE",
  "ERR_CHANGE_TOTAL",
]);

function attestationOf(violations: readonly ToolViolation[]): ToolResultPack["policy_attestation"] {
  const serious = violations.filter(isSerious);
  return {
    scope_compliant: !serious.some((one) => SCOPE_RULES.has(one.rule)),
    red_lines_respected: serious.every((one) => SCOPE_RULES.has(one.rule)),
    violations: [...violations],
  };
}

/** One for which the work does not match the policy. */
export function isSerious({ severity }: Pick<ToolViolation, "severity">): boolean {
  return severity === "error" || severity === "critical";
}

function violationsOf(evidence: ToolEvidence): ToolViolation[] {
  const refused = evidence.facts.refusals.flatMap(violationOf);
  const problemOf = scopeJudge(evidence.task.work_scope);
  const outside = changesOf(evidence).flatMap(({ path }): ToolViolation[] => {
    const problem = problemOf(path);
    if (problem === null) return [];
    return [{ rule: "work_scope", severity: "error", message: problem, place: path }];
  });
  // The serious ones first: what does not fit may leave out none of them.
  const all = [...outside, ...refused];
  return [...all.filter(isSerious), ...all.filter((one) => !isSerious(one))].slice(
    0,
    VIOLATIONS_MAX,
  );
}

/** A tool call that was denied did nothing; the tool may have gone on another way. */
function violationOf({ event, stepId, code, reason }: ToolRefusal): ToolViolation[] {
  const about = { rule: cutText(code, 80), message: cutText(reason, 500), place: stepId };
  const isDenied = event === "execution.denied";
  if (stepId.startsWith("call.")) return isDenied ? [{ ...about, severity: "warning" }] : [];
  if (code === "ERR_AGENT_HOOK") return [{ ...about, severity: "critical" }];
  const isSeriousOne = isDenied || SCOPE_RULES.has(code) || code === "ERR_AGENT_DENIED";
  return isSeriousOne ? [{ ...about, severity: "error" }] : [];
}

/** A person's consent to exactly these commits, which were then applied. */
function signoffOf(
  task: ToolTaskPack,
  { back }: ToolFacts,
): NonNullable<ToolResultPack["reviewer_signoff"]> | null {
  if (task.metadata?.requires_review !== true) return null;
  if (back === null) return { approved: false, approvals: 0, reviewers: [] };
  const enough = back.stepUp && back.approvals >= Math.max(1, back.required);
  return {
    approved: enough && back.completed,
    approvals: back.approvals,
    reviewers: back.roles.map((one) => cutText(one, 100)),
  };
}

type Claims = NonNullable<ToolResultPack["claims"]>;

function claimsOf({ done }: ToolFacts): Claims | null {
  const said = done?.output["claims"];
  if (typeof said !== "object" || said === null || Array.isArray(said)) return null;
  return Object.fromEntries(
    Object.entries(said)
      .slice(0, 40)
      .flatMap(([name, value]): [string, Claims[string]][] => {
        if (typeof value === "string") return [[cutText(name, 60), cutText(value, 2000)]];
        const isPlain = value === null || typeof value === "number" || typeof value === "boolean";
        return isPlain ? [[cutText(name, 60), value]] : [];
      }),
  );
}

/** Of what it claims, what can be held against the evidence. */
function disagreementsOf(
  claims: Claims | null,
  facts: ToolFacts,
): NonNullable<ToolResultPack["disagreements"]> {
  if (claims === null) return [];
  return Object.entries(foundOf(facts)).flatMap(([field, found]) => {
    const claimed = Object.hasOwn(claims, field) ? claims[field] : undefined;
    if (claimed === undefined || claimed === null || isSame(field, claimed, found)) return [];
    return [{ field, claimed, found }];
  });
}

function foundOf({ calls, done }: ToolFacts): Readonly<Record<string, string | number>> {
  const { version, calls_denied: denied } = done?.output ?? {};
  return {
    ...(typeof version === "string" ? { version: cutText(version, 60) } : {}),
    ...(typeof denied === "number" ? { calls_denied: denied } : {}),
    ...(calls.usage === null
      ? {}
      : { input_tokens: calls.usage.input, output_tokens: calls.usage.output }),
    ...(calls.unpriced > 0 ? {} : { cost_usd: calls.microusd / 1_000_000 }),
  };
}

/** Prices are rounded in more than one way: of money a hundredth is no disagreement. */
function isSame(field: string, claimed: Claims[string], found: string | number): boolean {
  if (field !== "cost_usd" || typeof claimed !== "number" || typeof found !== "number") {
    return claimed === found;
  }
  return Math.abs(claimed - found) <= Math.max(0.0001, found / 100);
}

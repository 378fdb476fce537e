import {
  canonicalize,
  commandsOfPack,
  isSovereignError,
  type JsonValue,
  POLICY_DIALECT,
  promptOfPack,
  quoted,
  scopeJudge,
  sha256Hex,
  timeoutOfPack,
  type ToolResultPack,
  type ToolTaskPack,
  utf8Encode,
  wordsOfCommand,
} from "@sovereign/core";
import {
  diffTrees,
  type GitRepository,
  LinkReader,
  type ObjectStore,
  openGitRepository,
  parseGitCommit,
  type TreeChange,
  verifyFilePatch,
} from "./git/index.ts";
import { verifyTree } from "./tree-custody.ts";

/** What was found of one field: it holds, it is false, or nothing here can say. */
export interface PackLine {
  readonly field: string;
  readonly found: "holds" | "false" | "unknown" | "claim";
  readonly text: string;
}

/** What was found of a result pack that somebody else made. */
export interface PackReport {
  /**
   * TRUE: every field that can be computed is so, and the result may be accepted. FAILED: it is so,
   * and the result may not. INCOMPLETE: the repository lacks what is needed. FALSE: a field lies, or
   * the work is out of its scope.
   */
  readonly verdict: "TRUE" | "FAILED" | "INCOMPLETE" | "FALSE";
  readonly lines: readonly PackLine[];
}

/**
 * Hold a result pack against its task and against a repository that has its commits. What it says of
 * files, commits and scope is computed again; what nobody can compute stands as a claim.
 *
 * @param task untrusted, as all of it is here; of its format
 * @param folder in the repository; no program of git's is started
 * @throws ERR_REPOSITORY_UNREADABLE
 */
export function verifyToolResult(
  task: ToolTaskPack,
  result: ToolResultPack,
  folder: string,
): PackReport {
  const check = new PackCheck(task, result);
  check.names();
  check.commits(openGitRepository(folder));
  check.outcome();
  check.metadata();
  check.logs();
  check.review();
  check.times();
  return check.report();
}

/** The versions of the format that are read here: ours, and the seed's. */
const VERSIONS = ["1.0.0", "0.11.2", "0.12.0"];

class PackCheck {
  readonly #task: ToolTaskPack;
  readonly #result: ToolResultPack;
  readonly #lines: PackLine[] = [];
  /** Why the result may not be accepted, although the pack is true. */
  #fails = false;

  constructor(task: ToolTaskPack, result: ToolResultPack) {
    this.#task = task;
    this.#result = result;
  }

  report(): PackReport {
    const has = (found: PackLine["found"]): boolean =>
      this.#lines.some((one) => one.found === found);
    const verdict = has("false")
      ? "FALSE"
      : has("unknown")
        ? "INCOMPLETE"
        : this.#fails
          ? "FAILED"
          : "TRUE";
    return { verdict, lines: this.#lines };
  }

  names(): void {
    const { tool_task_pack_id: id, tool_type: tool, schema_version: version } = this.#result;
    this.#same("tool_task_pack_id", id, this.#task.tool_task_pack_id);
    this.#same("tool_type", tool, this.#task.tool_type);
    this.#expect("schema_version", VERSIONS.includes(version), `found ${quoted(version)}`);
    const { run_id: run, tool_result_pack_id: own } = this.#result;
    if (run === undefined) this.#claim("tool_result_pack_id");
    else this.#same("tool_result_pack_id", own, `trpack_${run.slice("run_".length)}`);
    if (run !== undefined) this.#claim("run_id");
  }

  /** Walk from the task's commit to the last of the result's, and compute what changed. */
  commits({ objects }: GitRepository): void {
    const base = this.#read("task.repo_state.commit_hash", objects, this.#base);
    if (base === null) return;
    let before = base;
    let parent = this.#base;
    for (const [index, said] of this.#result.artifacts.commits.entries()) {
      const field = `artifacts.commits.${index}`;
      const found = this.#read(`${field}.commit_hash`, objects, said.commit_hash);
      if (found === null) return;
      const onto = found.parents.join(" ");
      this.#expect(`${field}.commit_hash`, onto === parent, `its parents are ${onto}`);
      this.#same(`${field}.message`, said.message.trimEnd(), found.message.trimEnd());
      const changed = this.#diff(`${field}.files_changed`, objects, before.tree, found.tree);
      if (changed === null) return;
      this.#same(`${field}.files_changed`, said.files_changed, changed.size);
      [before, parent] = [found, said.commit_hash];
    }
    const changes = this.#diff("diffs", objects, base.tree, before.tree);
    if (changes === null) return;
    this.#files(objects, changes);
    this.#policy(objects, before.tree, changes);
  }

  get #base(): string {
    return this.#task.repo_state.commit_hash;
  }

  #files(objects: ObjectStore, changes: ReadonlyMap<string, TreeChange>): void {
    const { diffs, artifacts } = this.#result;
    const said = new Map(diffs.map((one) => [one.file_path, one]));
    this.#expect("diffs", said.size === diffs.length, "a file stands in it twice");
    const found = { added: [] as string[], modified: [] as string[], deleted: [] as string[] };
    for (const [bytes, change] of changes) {
      const path = Buffer.from(bytes, "latin1").toString("utf8");
      const type = typeOf(change);
      found[type].push(path);
      const own = said.get(path);
      said.delete(path);
      if (own === undefined) this.#false("diffs", `${quoted(path)} was ${type}, and is not in it`);
      else this.#file(objects, own, bytes, change);
    }
    for (const path of said.keys()) {
      this.#false("diffs", `${quoted(path)} is in it, and no commit changes it`);
    }
    this.#same("artifacts.files_created", sorted(artifacts.files_created), sorted(found.added));
    this.#same(
      "artifacts.files_modified",
      sorted(artifacts.files_modified),
      sorted(found.modified),
    );
    this.#same("artifacts.files_deleted", sorted(artifacts.files_deleted), sorted(found.deleted));
  }

  #file(
    objects: ObjectStore,
    own: ToolResultPack["diffs"][number],
    bytes: string,
    change: TreeChange,
  ): void {
    const field = `diffs.${quoted(own.file_path)}`;
    this.#same(`${field}.diff_type`, own.diff_type, typeOf(change));
    for (const [name, entry, said] of [
      ["checksum_before", change.before, own.checksum_before],
      ["checksum_after", change.after, own.checksum_after],
    ] as const) {
      const found = this.#try(`${field}.${name}`, () =>
        entry === null || entry.mode === GITLINK ? null : sha256Hex(objects.read(entry.id, "blob")),
      );
      if (found !== undefined) this.#same(`${field}.${name}`, said, found);
    }
    const { patch } = own;
    if (patch === null) this.#claim(`${field}.patch`, "there is none: the commit has it");
    else {
      this.#try(`${field}.patch`, () => {
        verifyFilePatch(objects, utf8Encode(patch), bytes, change);
        this.#holds(`${field}.patch`);
      });
    }
  }

  /** The scope of the task, and what no step may change whatever a policy says. */
  #policy(objects: ObjectStore, tree: string, changes: ReadonlyMap<string, TreeChange>): void {
    const paths = [...changes.keys()].map((one) => Buffer.from(one, "latin1").toString("utf8"));
    const problemOf = scopeJudge(this.#task.work_scope);
    const outside = paths.flatMap((path) => {
      const problem = problemOf(path);
      return problem === null ? [] : [`${quoted(path)}: ${problem}`];
    });
    for (const one of outside) this.#false("work_scope", one);
    const crossed = this.#redLine(objects, tree, [...changes.keys()]);
    if (crossed === undefined) return;
    if (crossed !== null) this.#false("red_lines", crossed);
    const { policy_attestation: said } = this.#result;
    const field = "policy_attestation";
    const serious = said.violations.filter((one) => ["error", "critical"].includes(one.severity));
    this.#fails ||= serious.length > 0;
    if (outside.length > 0) this.#same(`${field}.scope_compliant`, said.scope_compliant, false);
    else this.#orLess(`${field}.scope_compliant`, said.scope_compliant);
    if (crossed !== null)
      this.#same(`${field}.red_lines_respected`, said.red_lines_respected, false);
    else this.#orLess(`${field}.red_lines_respected`, said.red_lines_respected);
    const clean = said.scope_compliant && said.red_lines_respected;
    this.#expect(
      `${field}.violations`,
      clean === (serious.length === 0),
      `it says ${clean ? "that all is well" : "that something is not"}, beside ${serious.length} serious violations`,
    );
  }

  /** What is worse than we can see here is believed: who says it says it against himself. */
  #orLess(field: string, said: boolean): void {
    if (said) this.#holds(field);
    else {
      this.#fails = true;
      this.#claim(field, "it says no, and nothing here shows why");
    }
  }

  /** @returns what was crossed; null for nothing; undefined where nobody can see that here */
  #redLine(objects: ObjectStore, tree: string, changed: string[]): string | null | undefined {
    if (changed.length === 0) return null;
    const judge = (named: string[]): string | null | undefined => {
      try {
        const reader = new LinkReader(objects);
        const rules = { dialect: POLICY_DIALECT, links: undefined, follow: "all" } as const;
        verifyTree({ objects, reader }, tree, changed, { ci_files: named }, rules);
        return null;
      } catch (error) {
        if (isSovereignError(error, "ERR_VERIFY_INVALID")) return error.message;
        this.#problem("red_lines", error);
        return undefined;
      }
    };
    const crossed = judge(changed.map((one) => Buffer.from(one, "latin1").toString("utf8")));
    // A policy may give leave for files that tools on other machines run. There is none here.
    const hostRun = crossed === null ? judge([]) : null;
    if (typeof hostRun === "string") this.#claim("red_lines", hostRun);
    return crossed;
  }

  /** A success has something to show; whoever failed says why. */
  outcome(): void {
    const { status, error, diffs, artifacts } = this.#result;
    const succeeded = status === "success" || status === "partial_success";
    this.#fails ||= !succeeded;
    const shown = diffs.length > 0 && artifacts.commits.length > 0;
    if (succeeded) this.#expect("status", shown, `it says ${status}, without a diff or a commit`);
    else this.#claim("status");
    this.#expect(
      "error",
      succeeded === (error === null),
      `it says ${status}, ${error === null ? "and no error" : "and an error"}`,
    );
    const made = new Set(
      diffs.filter((one) => one.diff_type !== "deleted").map((one) => one.file_path),
    );
    const expected = this.#task.steps.flatMap((one) => one.expected_artifacts ?? []);
    for (const path of succeeded ? expected : []) {
      this.#expect("expected_artifacts", made.has(path), `${quoted(path)} was not made`);
    }
  }

  metadata(): void {
    const { run_metadata: said, status } = this.#result;
    const wanted = this.#task.metadata ?? {};
    const version = "run_metadata.tool_version";
    const isKnown = status !== "success" || (said.tool_version ?? "") !== "";
    if (isKnown) this.#asked(version, said.tool_version, wanted.tool_version);
    else this.#false(version, "without it nobody can repeat the work");
    this.#asked("run_metadata.model_name", said.model_name, wanted.model_name);
    const prompt = sha256Hex(utf8Encode(promptOfPack(this.#task)));
    this.#asked("run_metadata.prompt_hash", said.prompt_hash ?? null, prompt);
    this.#bounds();
    for (const name of ["tokens_used", "program_sha256", "seed"]) {
      this.#claim(`run_metadata.${name}`);
    }
    for (const name of ["claims", "disagreements"] as const) {
      if (this.#result[name] !== undefined) this.#claim(name);
    }
  }

  #asked(field: string, said: string | null, wanted: string | undefined): void {
    if (said === null || wanted === undefined) this.#claim(field);
    else this.#same(field, said, wanted);
  }

  /** Time and money, by what the task gives and what the clock allows. */
  #bounds(): void {
    const { run_metadata: said, started_at: from, completed_at: to } = this.#result;
    const elapsed = (Date.parse(to) - Date.parse(from)) / 1000;
    const bound = Math.min(elapsed + 1, timeoutOfPack(this.#task) ?? Infinity);
    this.#atMost("run_metadata.execution_time_seconds", said.execution_time_seconds, bound);
    const budget = this.#task.limits?.budget_microusd ?? null;
    const dollars = budget === null ? null : budget / 1_000_000;
    this.#atMost("run_metadata.cost_usd", said.cost_usd, dollars);
  }

  #atMost(field: string, said: number | null, most: number | null): void {
    if (said === null || most === null) this.#claim(field);
    else if (said > most) this.#false(field, `it says ${said}, and at most ${most} is possible`);
    else this.#claim(field, `${said}, of at most ${most}`);
  }

  /** What commands said can be seen by running them again alone. */
  logs(): void {
    const { test_logs: said, status } = this.#result;
    const ran = said.commands;
    const passed = new Map<string, boolean>();
    for (const { argv, passed: well } of ran ?? []) {
      const words = JSON.stringify(argv);
      if (!passed.has(words)) passed.set(words, well);
    }
    for (const command of status === "success" ? commandsOfPack(this.#task) : []) {
      const words = JSON.stringify(wordsOfCommand(command));
      const field = "test_logs.commands";
      if (ran === undefined) this.#expect("test_logs", said.test_output !== null, "there is none");
      else if (passed.get(words) === true)
        this.#claim(field, `${quoted(command)} is said to have passed`);
      else this.#false(field, `it says success, and not that ${quoted(command)} passed`);
    }
    for (const name of ["build_output", "test_output", "lint_output"] as const) {
      if (said[name] !== null) this.#claim(`test_logs.${name}`);
    }
  }

  review(): void {
    const field = "reviewer_signoff";
    const signoff = this.#result.reviewer_signoff ?? null;
    const required = this.#task.metadata?.requires_review === true;
    if (signoff === null) {
      this.#fails ||= required;
      if (required) this.#false(field, "a review is required, and it says nothing of one");
      return;
    }
    this.#fails ||= required && !signoff.approved;
    this.#expect(field, !signoff.approved || signoff.approvals > 0, "approved by nobody");
    if (signoff.approved) this.#claim(`${field}.approved`);
  }

  times(): void {
    const { started_at: from, completed_at: to } = this.#result;
    const { created_at: given } = this.#task;
    this.#expect("completed_at", Date.parse(from) <= Date.parse(to), `it is before ${from}`);
    const late = given === undefined || Date.parse(given) <= Date.parse(from);
    this.#expect("started_at", late, `it is before the task was given: ${given ?? ""}`);
  }

  #read(field: string, objects: ObjectStore, id: string): CommitRead | null {
    return this.#try(field, () => readCommit(objects.read(id, "commit"))) ?? null;
  }

  #diff(
    field: string,
    objects: ObjectStore,
    before: string,
    after: string,
  ): Map<string, TreeChange> | null {
    return this.#try(field, () => diffTrees(objects, before, after)) ?? null;
  }

  #try<T>(field: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#problem(field, error);
      return undefined;
    }
  }

  /** What is not there is not known; what is there and other is false. */
  #problem(field: string, error: unknown): void {
    if (!isSovereignError(error)) throw error;
    const { code, message: text } = error;
    const absent = code === "ERR_GIT_OBJECT_MISSING" || code === "ERR_GIT_OBJECT_LIMIT";
    this.#lines.push({ field, found: absent ? "unknown" : "false", text });
  }

  #same(field: string, said: JsonValue, found: JsonValue): void {
    const [one, other] = [canonicalize(said), canonicalize(found)].map(cut);
    this.#expect(field, canonicalize(said) === canonicalize(found), `says ${one}, found ${other}`);
  }

  #expect(field: string, holds: boolean, otherwise: string): void {
    if (holds) this.#holds(field);
    else this.#false(field, otherwise);
  }

  #holds(field: string): void {
    this.#lines.push({ field, found: "holds", text: "" });
  }

  #false(field: string, text: string): void {
    this.#lines.push({ field, found: "false", text });
  }

  #claim(field: string, text = "nothing here can say"): void {
    this.#lines.push({ field, found: "claim", text });
  }
}

const GITLINK = "160000";
const SHOWN = 200;

function cut(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN).toWellFormed()}…` : text;
}

function sorted(paths: readonly string[]): string[] {
  return [...paths].sort();
}

function typeOf({ before, after }: TreeChange): "added" | "modified" | "deleted" {
  if (before === null) return "added";
  return after === null ? "deleted" : "modified";
}

interface CommitRead {
  readonly tree: string;
  readonly parents: readonly string[];
  readonly message: string;
}

function readCommit(bytes: Uint8Array): CommitRead {
  const end = Buffer.from(bytes).indexOf("\n\n");
  const message = end < 0 ? "" : Buffer.from(bytes.subarray(end + 2)).toString("utf8");
  return { ...parseGitCommit(bytes), message };
}

import {
  type ActionOutput,
  cutText,
  type ArtifactRef,
  type Checksums,
  canonicalBytes,
  type ExecutionResult,
  GATE_DOCUMENTS,
  judgeTree,
  type JsonValue,
  type Mode,
  type RepositoryRollbackProof,
  SCHEMA_VERSION,
  type SandboxProof,
  sha256Hex,
  type StepResult,
  type Toolset,
} from "@sovereign/core";
import { type Clock, timestampOf } from "../system/index.ts";
import type { ArtifactStore } from "../runs/index.ts";
import { patchName } from "./commit-effects.ts";
import type { StepsDone } from "./executor-run.ts";
import {
  type Change,
  Git,
  type Head,
  readChanges,
  readTreeNames,
  type UserRepository,
} from "./git/index.ts";
import type { PlannedRequest } from "./request.ts";
import type { RolledBack } from "./repository/rollback.ts";
import type { RunTape } from "./run-tape.ts";
import type { WorkLimits } from "./workspace.ts";

export interface EvidenceOptions {
  readonly runId: string;
  readonly mode: Mode;
  readonly planned: PlannedRequest;
  readonly policyDigest: string;
  readonly limits: WorkLimits;
  readonly toolset: Toolset | null;
  readonly base: Head;
  readonly done: StepsDone;
  readonly git: Git;
  readonly worktree: string;
  readonly artifacts: ArtifactStore;
  readonly tape: RunTape;
  readonly clock: Clock;
  readonly startedAt: string;
  /** Documents that were recorded before: the request, and questions and answers. */
  readonly before: readonly ArtifactRef[];
  readonly end: Pick<ExecutionResult, "status" | "code" | "reason">;
  /** What stands in the user's repository now, looked at again. */
  readonly found: { readonly head: string; readonly status: string; readonly statusBefore: string };
}

/**
 * Write the documents that say how a run ended, in the order in which the later name the earlier.
 * @returns what to record in the ledger
 */
export async function writeEvidence(options: EvidenceOptions): Promise<ArtifactRef[]> {
  const { artifacts, tape, end } = options;
  tape.add("run_end", null, { status: end.status, code: end.code });
  const put = (name: string, value: JsonValue): Promise<ArtifactRef> =>
    artifacts.put(name, canonicalBytes(value), "application/json");
  const refs = [...options.before];
  refs.push(await artifacts.put(GATE_DOCUMENTS.tape, tape.bytes(), "application/jsonl"));
  refs.push(await put(GATE_DOCUMENTS.result, resultOf(options)));
  const back = options.done.broughtBack ?? (end.status === "success" ? nothingBack(options) : null);
  if (back !== null) refs.push(await put(GATE_DOCUMENTS.sandboxProof, proofOf(options, back)));
  refs.push(await put(GATE_DOCUMENTS.checksums, await checksumsOf(options, refs)));
  return refs;
}

function resultOf(options: EvidenceOptions): ExecutionResult {
  const { planned, base, done, end } = options;
  const { broughtBack } = done;
  return {
    schema_version: SCHEMA_VERSION,
    exec_request_id: planned.request.exec_request_id,
    run_id: options.runId,
    mode: options.mode,
    ...end,
    reason: end.reason === null ? null : cutText(end.reason, 2000),
    request_digest: planned.digest,
    policy_digest: options.policyDigest,
    base_commit: base.commit,
    base_tree: base.tree,
    head_commit: broughtBack?.head ?? base.commit,
    head_tree: broughtBack?.tree ?? base.tree,
    steps_planned: planned.steps.length,
    steps: done.steps,
    ...(done.unchanged.length === 0 ? {} : { unchanged_steps: done.unchanged }),
    started_at: options.startedAt,
    ended_at: timestampOf(options.clock),
  };
}

/** Where every step changed nothing, the branch is where it was. */
function nothingBack({ base, found }: EvidenceOptions): ActionOutput<"git.bring_back"> {
  const { commit, tree } = base;
  const { statusBefore: status_before, status: status_after } = found;
  return { base: commit, head: commit, tree, commits: [], status_before, status_after };
}

function proofOf(options: EvidenceOptions, back: ActionOutput<"git.bring_back">): SandboxProof {
  const { done, base, found } = options;
  const { steps } = done;
  const last = steps.at(-1);
  return {
    schema_version: SCHEMA_VERSION,
    run_id: options.runId,
    is_worktree: true,
    worktree_path: options.worktree,
    sandbox_level: weakest(done.sandboxLevels),
    sandbox_backend: backendOf(done.sandboxBackends),
    limits: limitsOf(options.limits),
    toolset: options.toolset,
    base_commit: base.commit,
    worktree_head_sha: last?.commit ?? base.commit,
    main_repo_head_before: base.commit,
    main_repo_head_sha: found.head,
    main_repo_modified: found.head !== back.head,
    main_repo_status_before: found.statusBefore,
    main_repo_status_after: found.status,
    patch_count: steps.length,
    patch_files: steps.map((one) => patchName(one.step_id)),
    patch_sha256: Object.fromEntries(
      steps.map((one) => [patchName(one.step_id), one.patch_sha256]),
    ),
    worktree_commits: steps.map((one) => one.commit),
    commits_brought_back: [...back.commits],
    main_repo_commits_after_am: [...back.commits],
    expected_tree: last?.tree ?? base.tree,
    resulting_tree: back.tree,
    brought_back_at: timestampOf(options.clock),
  };
}

function limitsOf(limits: WorkLimits): SandboxProof["limits"] {
  return {
    wall_ms: limits.timeoutMs,
    cpu_seconds: limits.cpuSeconds,
    memory_bytes: limits.memoryBytes,
    processes: limits.processes,
    output_bytes: limits.outputBytes,
    file_bytes: limits.fileBytesMax,
    temporary_files: limits.temporaryFiles,
    kernel_bytes: limits.kernelBytes,
  };
}

const LEVELS = ["G0", "G1", "G2", "G3"] as const;

function weakest(levels: readonly string[]): (typeof LEVELS)[number] | null {
  return LEVELS.find((level) => levels.includes(level)) ?? null;
}

const BACKENDS = ["none", "bubblewrap", "container"] as const;

/** A run has one policy, and so one back end for all of its commands. */
function backendOf(backends: readonly string[]): (typeof BACKENDS)[number] | null {
  return BACKENDS.find((backend) => backends.includes(backend)) ?? null;
}

async function checksumsOf(
  options: EvidenceOptions,
  refs: readonly ArtifactRef[],
): Promise<Checksums> {
  const { git, base, done } = options;
  return {
    schema_version: SCHEMA_VERSION,
    run_id: options.runId,
    base_commit: base.commit,
    steps: await stepChecksums(git, base.tree, done.steps),
    evidence: refs.map(({ name, sha256, bytes }) => ({ name, sha256, bytes })),
  };
}

/** The files that each step changed, with their digests in git. */
async function stepChecksums(
  git: Git,
  tree: string,
  done: readonly Pick<StepResult, "step_id" | "tree">[],
): Promise<Checksums["steps"]> {
  const steps: Checksums["steps"] = [];
  let before = tree;
  for (const step of done) {
    const changes = await readChanges(git, before, step.tree);
    const names = await readTreeNames(git, step.tree);
    const { links } = judgeTree(
      names,
      changes.map((one) => one.path),
    );
    steps.push({
      step_id: step.step_id,
      files: await fileChecksums(git, changes),
      links: links.map((path) => ({ path, target: names.get(path)?.target ?? "" })),
    });
    before = step.tree;
  }
  return steps;
}

/** The same of commits that wait in the user's repository. */
export function waitingChecksums(
  { gitDir }: UserRepository,
  tree: string,
  done: readonly Pick<StepResult, "step_id" | "tree">[],
): Promise<Checksums["steps"]> {
  return stepChecksums(new Git({ gitDir }), tree, done);
}

async function fileChecksums(
  git: Git,
  changes: readonly Change[],
): Promise<Checksums["steps"][number]["files"]> {
  const digestOfBlob = async (blob: string | null): Promise<string | null> =>
    blob === null ? null : sha256Hex(await git.bytes(["cat-file", "blob", blob]));
  const files: Checksums["steps"][number]["files"] = [];
  for (const { path, status, beforeBlob, afterBlob } of changes) {
    const before = await digestOfBlob(beforeBlob);
    files.push({ path, status, before, after: await digestOfBlob(afterBlob) });
  }
  return files;
}

/** A rollback's proof, in the seed's words. */
export function rollbackProofOf(
  runId: string,
  ofRun: string,
  back: Omit<RolledBack, "kept">,
  clock: Clock,
): RepositoryRollbackProof {
  const { files, ...rest } = back;
  return {
    schema_version: SCHEMA_VERSION,
    run_id: runId,
    of_run: ofRun,
    ...rest,
    details: files.map((one) => ({ ...one })),
    proved_at: timestampOf(clock),
  };
}

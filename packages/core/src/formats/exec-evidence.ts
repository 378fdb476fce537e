import { z } from "zod";
import {
  artifactRef,
  count,
  digest,
  jsonObject,
  mode,
  runId,
  schemaVersion,
  timestamp,
} from "./common.ts";
import { toolset } from "./toolset.ts";

/** Git's id of an object: SHA-1 or SHA-256, in lower-case hex. */
export const gitId = z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, "expected a git object id");

/** As many steps as their numbers tell apart; a request has fewer. */
const STEPS_MAX = 1000;
const stepId = z.string().regex(/^step_\d{2,3}$/);

/** The events of a run tape, in the seed's words. */
export const tapeEvents = [
  "run_start",
  "spec_frozen",
  "blocked",
  "resume_applied",
  "repo_locked",
  "worktree_created",
  "rollback_point",
  "step_start",
  "operation_start",
  "operation_end",
  "operation_refused",
  "step_end",
  "step_failed",
  "bring_back_start",
  "bring_back_end",
  "run_end",
] as const;

/** One line of `audit/run_tape.jsonl`. */
export const tapeEvent = z.strictObject({
  seq: count,
  timestamp,
  run_id: runId,
  event: z.enum(tapeEvents),
  step_id: stepId.nullable(),
  details: jsonObject,
});
export type TapeEvent = z.infer<typeof tapeEvent>;

const fileChange = z.strictObject({
  path: z.string().max(1024),
  status: z.enum(["added", "modified", "deleted"]),
  /** SHA-256 of the bytes in git; null where there are none. */
  before: digest.nullable(),
  after: digest.nullable(),
});
export type FileChecksum = z.infer<typeof fileChange>;

/** A symbolic link as git has it: where it stands and where it leads, as written. */
const treeLink = z.strictObject({ path: z.string().max(4096), target: z.string().max(4096) });

/** `audit/checksums.json`: every file that a step changed, and every file of the evidence. */
export const checksums = z.strictObject({
  schema_version: schemaVersion,
  run_id: runId,
  base_commit: gitId,
  steps: z
    .array(
      z.strictObject({
        step_id: stepId,
        files: z.array(fileChange),
        /**
         * Of the tree after the step, the links that it changed or that lead to what it changed, by
         * path. Absent where the evidence is older than the field.
         */
        links: z.array(treeLink).max(20_000).exactOptional(),
      }),
    )
    .max(STEPS_MAX),
  evidence: z.array(artifactRef.pick({ name: true, sha256: true, bytes: true })),
});
export type Checksums = z.infer<typeof checksums>;

const stepResult = z.strictObject({
  step_id: stepId,
  commit: gitId,
  parent: gitId,
  tree: gitId,
  patch_sha256: digest,
  files_changed: count,
  operations: count,
});
export type StepResult = z.infer<typeof stepResult>;

/** A step that changed nothing, such as one that only tests: it made no commit. */
const unchangedStep = z.strictObject({ step_id: stepId, tree: gitId, operations: count });
export type UnchangedStep = z.infer<typeof unchangedStep>;

/** `execution_result.json`: how a request ended. */
export const executionResult = z.strictObject({
  schema_version: schemaVersion,
  exec_request_id: z.string(),
  run_id: runId,
  mode,
  status: z.enum(["success", "denied", "blocked", "failed"]),
  code: z.string().nullable(),
  reason: z.string().max(2000).nullable(),
  request_digest: digest,
  policy_digest: digest,
  base_commit: gitId,
  base_tree: gitId,
  /** Where the user's branch is after it: the base, unless the status is `success`. */
  head_commit: gitId,
  head_tree: gitId,
  steps_planned: count,
  /** Those that made a commit. */
  steps: z.array(stepResult).max(STEPS_MAX),
  /** Those that ended and changed nothing. Absent for none, and in evidence that is older. */
  unchanged_steps: z.array(unchangedStep).max(STEPS_MAX).exactOptional(),
  started_at: timestamp,
  ended_at: timestamp,
});
export type ExecutionResult = z.infer<typeof executionResult>;

/** `03_executor/sandbox_proof.json`: the work was done apart, and this is what came back. */
export const sandboxProof = z.strictObject({
  schema_version: schemaVersion,
  run_id: runId,
  is_worktree: z.boolean(),
  worktree_path: z.string(),
  /** Commands ran in a sandbox of this level; null where no command ran. */
  sandbox_level: z.enum(["G3", "G2", "G1", "G0"]).nullable(),
  /** What confined them; null where no command ran, and in proofs from when there was one. */
  sandbox_backend: z.enum(["bubblewrap", "container", "none"]).nullable().default(null),
  /** Which each command was held to; null in proofs from when that was not recorded. */
  limits: z
    .strictObject({
      wall_ms: count,
      cpu_seconds: count,
      memory_bytes: count,
      processes: count,
      output_bytes: count,
      file_bytes: count,
      temporary_files: count,
      kernel_bytes: count,
    })
    .nullable()
    .default(null),
  /** Null where the policy asks for no tools, and in proofs from when none could be asked for. */
  toolset: toolset.nullable().default(null),
  base_commit: gitId,
  worktree_head_sha: gitId,
  main_repo_head_before: gitId,
  main_repo_head_sha: gitId,
  /** True when anything of the user's changed but by the commits that were brought back. */
  main_repo_modified: z.boolean(),
  /** SHA-256 over `git status` of the user's tree, before the run and after it. */
  main_repo_status_before: digest,
  main_repo_status_after: digest,
  patch_count: count,
  patch_files: z.array(z.string()),
  patch_sha256: z.record(z.string(), digest),
  worktree_commits: z.array(gitId),
  commits_brought_back: z.array(gitId),
  main_repo_commits_after_am: z.array(gitId),
  expected_tree: gitId,
  resulting_tree: gitId,
  brought_back_at: timestamp,
});
export type SandboxProof = z.infer<typeof sandboxProof>;

/** Every file of the tree that a rollback went back to, each read in the work tree afterwards. */
const everyFile = z.strictObject({
  /** How many files the tree has, and of how many the bytes and the mode are the tree's. */
  total: count,
  as_base: count,
  /** Of those that the run had changed: written again as the tree's attributes have line ends. */
  converted: count,
  /**
   * The others: edits of the user's, and what filters and line ends make of git's bytes. A mode is
   * git's, or `000000` where nothing stands.
   */
  kept: z.array(z.strictObject({ path: z.string(), mode: z.string(), sha256: digest.nullable() })),
  /** True where each of these is what it was before the rollback. */
  kept_unchanged: z.boolean(),
  /**
   * SHA-256 over `<mode> <SHA-256> <path>` and a zero byte for each file of the tree, by git's
   * bytes, in the order of the paths' bytes; for a submodule, the id of its commit.
   */
  sha256: digest,
});

/** `03_executor/rollback_proof.json`: the repository is where the run began. Both seed shapes. */
export const repositoryRollbackProof = z.strictObject({
  schema_version: schemaVersion,
  run_id: runId,
  /** The run that is undone. */
  of_run: runId,
  before_head: gitId,
  after_head: gitId,
  base_commit: gitId,
  tree: gitId,
  files_changed_count: count,
  checksums_verified: count,
  checksums_match: z.boolean(),
  success: z.boolean(),
  status_before: digest,
  status_after: digest,
  /** Those that the run had changed. */
  details: z.array(z.strictObject({ path: z.string(), sha256: digest.nullable() })),
  /** Null in proofs from when the changed files alone were looked at. */
  every_file: everyFile.nullable().default(null),
  proved_at: timestamp,
});
export type RepositoryRollbackProof = z.infer<typeof repositoryRollbackProof>;

/** `01_intent/status.json` */
export const intentStatus = z.strictObject({
  schema_version: schemaVersion,
  run_id: runId,
  status: z.enum(["READY", "BLOCKED", "RESUMED"]),
  open_questions: z.array(z.string()),
});
export type IntentStatus = z.infer<typeof intentStatus>;

/** What one gate found. */
export const gateResult = z.strictObject({
  gate: z.string().max(40),
  verdict: z.enum(["pass", "fail", "not_applicable"]),
  message: z.string().max(1000),
  /** The names of the artifacts and entries that it rests on. */
  evidence: z.array(z.string().max(300)).max(300),
});
export type GateResult = z.infer<typeof gateResult>;

/** The gates' findings on one run. Signed by the key of purpose `attestation`. */
export const gateReceipt = z.strictObject({
  run_id: runId,
  status: z.enum(["PASS", "FAIL"]),
  results: z.array(gateResult).min(1).max(100),
  /** The artifacts that were judged, by name: SHA-256. */
  inputs: z.record(z.string(), digest),
  evaluated_at: timestamp,
});
export type GateReceipt = z.infer<typeof gateReceipt>;

/**
 * The findings of the gates that judge our sources, on one release. Signed by whoever releases.
 */
export const releaseReceipt = z.strictObject({
  release: z.string().max(100),
  /** Null where the sources are not those of a commit. */
  commit: gitId.nullable(),
  status: z.enum(["PASS", "FAIL"]),
  results: z.array(gateResult).min(1).max(100),
  /** Every source that was judged, by path: SHA-256. */
  inputs: z.record(z.string().max(300), digest),
  evaluated_at: timestamp,
});
export type ReleaseReceipt = z.infer<typeof releaseReceipt>;

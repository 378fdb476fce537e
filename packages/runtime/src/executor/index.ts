export { patchName } from "./commit-effects.ts";
export { watchWrites } from "./disk-quota.ts";
export { createExecutorEffects, type ExecutorEffectsOptions } from "./effects.ts";
export { rollbackProofOf, waitingChecksums, writeEvidence } from "./evidence.ts";
export { type ExecProgress, ExecutorRun, type StepsDone } from "./executor-run.ts";
export {
  forgetResult,
  formatPatch,
  type Head,
  inspectRepository,
  reopenRepository,
  isOwnerDead,
  isWhole,
  keepCommit,
  keptIn,
  nameResult,
  ownerText,
  requireFreeBranch,
  resultAt,
  type KeptName,
  readChanges,
  readHead,
  readRef,
  releaseKept,
  trackedPaths,
  type UserRepository,
} from "./git/index.ts";
export { removeHostile } from "./remove-hostile.ts";
export { type JudgedPatch, mendObjects } from "./repository/bring-back.ts";
export {
  isLockStale,
  lockRepository,
  type RepositoryLock,
} from "./repository/repository-lock.ts";
export { statusDigest } from "./repository/rollback.ts";
export { isSwitchHalf, isSwitchOpen, keptBy, switchedTo } from "./repository/switch-journal.ts";
export { recoverSwitch } from "./repository/tree-switch.ts";
export { parseExecRequest, type PlannedRequest, planSummary, requireRunnable } from "./request.ts";
export { ReviewedPolicy, REVIEWER } from "./review.ts";
export { createRollbackEffect } from "./rollback-effect.ts";
export { ScopedPolicy } from "./scoped-policy.ts";
export { RunTape } from "./run-tape.ts";
export { type DiffPart, readDiff } from "./unified-diff.ts";
export {
  type CommandTools,
  gitCovers,
  searchPath,
  seenTools,
  ToolMounts,
} from "./tool-mounts.ts";
export { type WorkLimits, workLimits, Workspace } from "./workspace.ts";

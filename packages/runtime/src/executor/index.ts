export { patchName } from "./commit-effects.ts";
export { watchWrites } from "./disk-quota.ts";
export { createExecutorEffects, type ExecutorEffectsOptions } from "./effects.ts";
export { rollbackProofOf, writeEvidence } from "./evidence.ts";
export { type ExecProgress, ExecutorRun, type StepsDone } from "./executor-run.ts";
export {
  forgetResult,
  type Head,
  inspectRepository,
  isWhole,
  keepCommit,
  keptIn,
  nameResult,
  requireFreeBranch,
  resultAt,
  type KeptName,
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
  isOwnerDead,
  lockRepository,
  ownerText,
  type RepositoryLock,
} from "./repository/repository-lock.ts";
export { statusDigest } from "./repository/rollback.ts";
export { isSwitchOpen, keptBy, recoverSwitch } from "./repository/tree-switch.ts";
export { parseExecRequest, type PlannedRequest, planSummary, requireRunnable } from "./request.ts";
export { ReviewedPolicy, REVIEWER } from "./review.ts";
export { createRollbackEffect } from "./rollback-effect.ts";
export { RunTape } from "./run-tape.ts";
export { type DiffPart, readDiff } from "./unified-diff.ts";
export { workLimits, Workspace } from "./workspace.ts";

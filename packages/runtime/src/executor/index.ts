export { REVIEWER, ReviewedPolicy } from "./review.ts";
export { writeEvidence, rollbackProofOf } from "./evidence.ts";
export { createExecutorEffects, type ExecutorEffectsOptions } from "./effects.ts";
export { type ExecProgress, ExecutorRun, type StepsDone } from "./executor-run.ts";
export { type JudgedPatch, mendObjects } from "./bring-back.ts";
export { patchName } from "./commit-effects.ts";
export {
  type Head,
  inspectRepository,
  isWhole,
  keepCommit,
  type KeptName,
  readHead,
  readRef,
  releaseKept,
  type UserRepository,
} from "./git/index.ts";
export { commitOutput, gitId } from "./effect-output.ts";
export { createRollbackEffect } from "./rollback-effect.ts";
export {
  isLockStale,
  isOwnerDead,
  lockRepository,
  ownerText,
  type RepositoryLock,
} from "./repository-lock.ts";
export {
  parseExecRequest,
  planSummary,
  type PlannedRequest,
  requireRunnable,
} from "./request.ts";
export { statusDigest } from "./rollback.ts";
export { removeHostile } from "./remove-hostile.ts";
export { RunTape } from "./run-tape.ts";
export { isSwitchOpen, recoverSwitch } from "./tree-switch.ts";
export { workLimits, Workspace } from "./workspace.ts";

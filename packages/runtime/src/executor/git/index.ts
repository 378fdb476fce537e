export {
  type Change,
  type ChangeLimits,
  judgeChanges,
  judgePaths,
  readChanges,
} from "./changes.ts";
export { type CommitText, commitMessage } from "./commit-message.ts";
export { beginAgain, COMMITTER, Git } from "./git.ts";
export {
  isConnected,
  isWhole,
  keepCommit,
  keepObjects,
  keptIn,
  type KeptName,
  releaseKept,
} from "./kept-objects.ts";
export { judgePatchSizes } from "./patch-size.ts";
export {
  copyPlainFile,
  FILE_BYTES_MAX,
  INDEX_BYTES_MAX,
  readPlainBytes,
  readPlainText,
} from "./plain-files.ts";
export { checkOut, createPrivateRepository } from "./private-repository.ts";
export { forgetResult, nameResult, requireFreeBranch, resultAt } from "./result-branch.ts";
export { deadOwnerText, isOwnerDead, ownerText, startTimeOf } from "./owner.ts";
export { breakClaims } from "./ref-claim.ts";
export { branchLocks, changeRefs, lockIdentity, withRefLocked } from "./ref-lock.ts";
export {
  commitTree,
  formatPatch,
  scanTree,
  stageAll,
  stageNamed,
  type StepCommit,
} from "./step-commit.ts";
export {
  damaged,
  forbiddenWork,
  type Head,
  inspectRepository,
  reopenRepository,
  readHead,
  readRef,
  requireWritable,
  trackedPaths,
  type RefState,
  type UserRepository,
} from "./user-repository.ts";
export { applyChanges, readTreeNames, type TreeNames } from "./tree-names.ts";

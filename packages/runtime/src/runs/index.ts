export { ARTIFACT_BYTES_MAX, ArtifactStore, readHarvest } from "./artifact-store.ts";
export { type BundleRequest, exportBundle, logOrigin } from "./bundle.ts";
export { type FailedLog, keepFailedLog, lastLines, wholeLog } from "./failed-log.ts";
export type { RunFilter, RunRow, RunStore, StepRow } from "./ports.ts";
export { readSteps, requireAdmitted } from "./run-history.ts";
export { hasDocuments } from "./run-kind.ts";
export { RunRecorder, type RunRecorderOptions } from "./run-recorder.ts";
export {
  type ApprovalSource,
  isPassing,
  type RunPlan,
  RunSession,
  type RunSessionOptions,
  RunStopped,
  type Step,
} from "./run-session.ts";
export type { StepRecord } from "./step-record.ts";
export { checkTenant } from "./tenant.ts";

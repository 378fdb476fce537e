export { ARTIFACT_BYTES_MAX, ArtifactStore, readHarvest } from "./artifact-store.ts";
export { type BundleRequest, exportBundle, logOrigin, readEntries } from "./bundle.ts";
export { castVotes, type Vote } from "./cast-votes.ts";
export { type FailedLog, keepFailedLog, lastLines, wholeLog } from "./failed-log.ts";
export type {
  BudgetRows,
  BudgetUse,
  Breaker,
  BreakerRows,
  IncidentFilter,
  IncidentRows,
  ContentStore,
  KeptValues,
  PlacedIncident,
  RunFilter,
  RunRow,
  RunStore,
  StepRow,
  StoredHold,
  StoredTrace,
  StoredTraceStep,
} from "./ports.ts";
export { readSteps, requireAdmitted, stepsOf } from "./run-history.ts";
export { isTraced, readRunTrace } from "./recorded-run.ts";
export { APPROVED, makeGrant } from "./make-grant.ts";
export { hasDocuments } from "./run-kind.ts";
export { type RunBudget, RunRecorder, type RunRecorderOptions } from "./run-recorder.ts";
export type { RunPlan } from "./run-plan.ts";
export {
  type ApprovalSource,
  RunSession,
  type RunSessionOptions,
  type Step,
} from "./run-session.ts";
export { isPassing, RunStopped } from "./run-stopped.ts";
export type { StepRecord } from "./step-record.ts";
export { checkTenant } from "./tenant.ts";

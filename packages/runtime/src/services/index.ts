export type { BatchActionReport } from "./batch/batch-kind.ts";
export {
  type BatchReport,
  type RunnerOptions,
  SovereignRunner,
} from "./batch/batch-runner.ts";
export { createServices } from "./create-services.ts";
export type { ExecFiles, ExecInput, ExecPlanReport, RequestWords } from "./exec/exec-reports.ts";
export type { AgentDecision, AgentDoctorRow } from "./agents/agent-reports.ts";
export type { KeySource, ModelTestReport } from "./model-services.ts";
export type { NodeReport } from "./node-services.ts";
export {
  type SubmitOptions,
  submitPipeline,
} from "./runs/pipeline-kind.ts";
export { resumeRun } from "./runs/kinds.ts";
export type { RunOptions } from "./runs/lifecycle.ts";
export type { RunDetails } from "./runs/run-details.ts";
export type { RunInput, RunReport, RunResult } from "./runs/run-result.ts";
export { DrillRig } from "./scram/drill.ts";
export { describeUnanswered } from "./scram/health.ts";
export type { Owned } from "./scram/owning-payloads.ts";
export type {
  DoctorReport,
  DrillReport,
  RunnerHealth,
  ScramOutcome,
  ScramRemote,
  ScramRepairReport,
  ScramReport,
  ScramServeEvent,
  ScramServeInput,
  SelfProofHealth,
  WatchEvent,
} from "./scram/scram-reports.ts";
export type { Services } from "./services.ts";

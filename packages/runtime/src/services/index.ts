export type { BatchActionReport } from "./batch/batch-kind.ts";
export {
  type BatchReport,
  type RunnerOptions,
  SovereignRunner,
} from "./batch/batch-runner.ts";
export { createServices } from "./create-services.ts";
export type {
  ExecFiles,
  ExecInput,
  ExecPlanReport,
  ExecStatusReport,
  RequestWords,
} from "./exec/exec-reports.ts";
export type { TrustReport } from "./exec/read-policy.ts";
export type {
  AgentDecision,
  AgentDoctorRow,
  PackInput,
  ToolHealthRow,
} from "./agents/agent-reports.ts";
export type { WorkerEvent } from "./workers/worker.ts";
export type { ArchiveProgress, RecordedReport } from "./archive/archive-reports.ts";
export type { BackupProgress } from "./backup/backup-reports.ts";
export type { BudgetReport } from "./budgets/budget-services.ts";
export { limitsOf, type NamedLimits, type SaidLimits } from "./budgets/limits.ts";
export type { OwnSkillReport } from "./skill-services.ts";
export type { IncidentReport } from "./incidents/incident-services.ts";
export type { GoalProgress } from "./goals/goal-progress.ts";
export type { SkillReport } from "./goals/goal-services.ts";
export type { RunProofReport } from "./runs/run-proof.ts";
export type { TraceReport } from "./runs/run-trace.ts";
export type { AgentCompareReport } from "./agents/compare/compare-services.ts";
export {
  type AgentSession,
  type AgentSessionOptions,
  type AgentSessionReport,
  type AskedCall,
  createAgentSession,
  type GuardedTool,
  type ToolCallOptions,
} from "./agents/agent-session.ts";
export type { SecretReport } from "./secret-services.ts";
export type { KeySource, ModelTestReport } from "./model-services.ts";
export type { NodeReport } from "./node-services.ts";
export type { SubmitOptions } from "./runs/pipeline-kind.ts";
export { resumeOwnRun as resumeRun, submitOwnPipeline as submitPipeline } from "./doors.ts";
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
export { goalWords } from "./goals/goal-plan.ts";
export type { ApiServices, RunEvent, ServerEvent, SubmittedGoal } from "./serve/api-ports.ts";
export { type ApiIdentity, callerName } from "./serve/identity.ts";
export { readTls, type TlsFiles } from "./scram/read-tls.ts";
export type { TokenInput, TokenReport } from "./token-services.ts";
export type { Services } from "./services.ts";

export { runCli } from "./program.ts";
export { describeUnanswered } from "./sentinel-text.ts";
export type {
  BatchActionReport,
  BatchReport,
  RunnerHealth,
  DrillReport,
  ExecFiles,
  ExecInput,
  ExecPlanReport,
  LeaseHealth,
  NodeReport,
  RunInput,
  RunReport,
  ScramOutcome,
  ScramRemote,
  ScramServeEvent,
  ScramServeInput,
  ScramRepairReport,
  ScramReport,
  SelfProofHealth,
  Services,
  WatchEvent,
} from "./services.ts";

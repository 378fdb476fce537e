export { runCli } from "./program.ts";
export type {
  BatchActionReport,
  BatchReport,
  RunnerHealth,
  DrillReport,
  ExecFiles,
  ExecInput,
  ExecPlanReport,
  NodeReport,
  RunInput,
  RunReport,
  ScramOutcome,
  ScramRemote,
  ScramServeEvent,
  ScramServeInput,
  ScramReport,
  Services,
} from "./services.ts";

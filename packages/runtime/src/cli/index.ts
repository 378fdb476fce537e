export { runCli } from "./program.ts";
export type {
  DrillReport,
  ExecFiles,
  ExecInput,
  ExecPlanReport,
  RunInput,
  RunReport,
  ScramOutcome,
  ScramReport,
  Services,
} from "./services.ts";

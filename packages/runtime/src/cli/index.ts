export { runCli } from "./program.ts";
export type {
  ExecFiles,
  ExecInput,
  ExecPlanReport,
  RunInput,
  RunReport,
  Services,
} from "./services.ts";

export { runCli } from "./program.ts";
export type {
  DrillReport,
  RunInput,
  RunReport,
  ScramOutcome,
  ScramReport,
  Services,
} from "./services.ts";

export { runCli } from "./program.ts";
export type { RunInput, RunReport, Services } from "./services.ts";

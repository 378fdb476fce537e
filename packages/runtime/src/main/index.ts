export { type Installation, type InstallationOptions, openInstallation } from "./installation.ts";
export {
  type ResumeOptions,
  resumePipeline,
  type SubmitOptions,
  submitPipeline,
} from "./run-pipeline.ts";
export { DrillRig } from "./drill.ts";
export type { Owned } from "./owning-payloads.ts";
export { connectScram, joinScram } from "./sentinel-process.ts";
export { type RunnerOptions, SovereignRunner } from "./sovereign-runner.ts";
export { createServices } from "./services.ts";
export type { RunResult } from "./run-result.ts";

export { type Installation, type InstallationOptions, openInstallation } from "./installation.ts";
export {
  type ResumeOptions,
  type RunResult,
  resumePipeline,
  type SubmitOptions,
  submitPipeline,
} from "./run-pipeline.ts";
export { createServices } from "./services.ts";

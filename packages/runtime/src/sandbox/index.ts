export { probeSandbox, type SandboxCheck, type SandboxReport } from "./probe.ts";
export { createSandbox, type Sandbox } from "./sandbox.ts";
export type {
  Mount,
  SandboxEnding,
  SandboxLevel,
  SandboxLimits,
  SandboxOptions,
  SandboxRequest,
  SandboxResult,
  StartedPath,
} from "./types.ts";

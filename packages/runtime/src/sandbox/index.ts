export { probeSandbox, type SandboxCheck, type SandboxReport } from "./probe.ts";
export { connectSandbox } from "./client.ts";
export { type DeathCosts, DEATH_COSTS, HOLDINGS } from "./holdings.ts";
export { Engine, type EngineOptions } from "./engine.ts";
export { createSandbox, type Sandbox } from "./sandbox.ts";
export { seccompFilter } from "./seccomp.ts";
export { usedOf } from "./types.ts";
export type {
  Mount,
  SandboxBackend,
  SandboxDemands,
  SandboxEnding,
  SandboxLevel,
  SandboxLimits,
  SandboxOptions,
  SandboxRequest,
  SandboxResult,
  StartedPath,
} from "./types.ts";

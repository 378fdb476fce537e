export {
  bootId,
  BOUND_MS,
  BUDGET_MS,
  type Capacity,
  CAPACITY_FILE,
  deathCosts,
  knownCapacity,
  measuredCapacity,
  MOST,
  rounded,
} from "./capacity.ts";
export { connectSandbox } from "./client.ts";
export { Engine, type EngineOptions } from "./engine.ts";
export { DEATH_COSTS, type DeathCosts, HOLDINGS } from "./holdings.ts";
export {
  holdsSandbox,
  probeSandbox,
  type SandboxCheck,
  type SandboxReport,
  unboundedMemory,
} from "./probe.ts";
export { createSandbox, type Sandbox } from "./sandbox.ts";
export { seccompFilter } from "./seccomp.ts";
export {
  copiesIn,
  homeOf,
  inTree,
  type Machine,
  requireUnchanged,
  resolveTools,
} from "./tools/index.ts";
export {
  type Mount,
  type SandboxBackend,
  type SandboxDemands,
  type SandboxEnding,
  type SandboxLevel,
  type SandboxLimits,
  type SandboxOptions,
  type SandboxRequest,
  type SandboxResult,
  type StartedPath,
  usedOf,
} from "./types.ts";

export type {
  AgentAdapter,
  AgentHooks,
  AgentProgram,
  InstalledAgent,
  ToolAsk,
} from "./adapter.ts";
export { ADAPTERS, adapterOf, INSTALLED } from "./adapters/index.ts";
export {
  type AgentProgress,
  createAgentEffect,
  type ModelDoor,
} from "./agent-effect.ts";
export { AgentPolicy } from "./agent-policy.ts";
export { digestOfProgram, findProgram, installCommand } from "./installed.ts";
export {
  type GivenPack,
  issueTaskPack,
  PACK_BYTES_MAX,
  parseResultPack,
  parseTaskPack,
} from "./packs/index.ts";
export { callParams, TOOL_CALL, ToolCalls } from "./tool-calls.ts";
export { OWN_MODEL } from "./adapters/named-command.ts";
export { splitWords } from "./command-words.ts";
export { findNamed } from "./named-program.ts";
export { isInstalled } from "./adapter.ts";
export { secretsOf } from "./transcript.ts";
export { proveHooks } from "./prove-hooks.ts";

export type { AgentAdapter, AgentProgram } from "./adapter.ts";
export { ADAPTERS, adapterOf } from "./adapters/index.ts";
export {
  type AgentProgress,
  createAgentEffect,
  type ModelDoor,
} from "./agent-effect.ts";
export { AgentPolicy } from "./agent-policy.ts";
export { digestOfProgram, findProgram, installCommand } from "./installed.ts";
export { TOOL_CALL, ToolCalls } from "./tool-calls.ts";

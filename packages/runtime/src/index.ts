export {
  Authority,
  INSTALLATION_KEYS,
  KeyLog,
  type KeyLogStore,
  Keystore,
  type NewKeyEvent,
} from "./authority/index.ts";
export {
  type Authorization,
  createKernel,
  type Effect,
  type EffectRegistry,
  type EffectResult,
  type ExecuteRequest,
  type Invocation,
  type Kernel,
  type KernelOptions,
  type KeyDirectory,
  type LedgerRecord,
  type Outcome,
  type PolicyDecider,
  type Recorder,
  type RecordVerdict,
  type ScramGate,
  type Stage,
} from "./kernel/index.ts";
export { type Clock, systemClock, systemEntropy } from "./system/index.ts";
export { EMPTY_STREAM, StreamWriter } from "./ledger/index.ts";
export { joinScram } from "./home/index.ts";
export { openInstallation } from "./installation/index.ts";
export {
  type AgentSession,
  type AgentSessionOptions,
  type AgentSessionReport,
  type AskedCall,
  createAgentSession,
  type GuardedTool,
  resumeRun,
  SovereignRunner,
  submitPipeline,
  type ToolCallOptions,
} from "./services/index.ts";
export type { ToolAsk } from "./coding/index.ts";
export { type CompiledPolicy, PolicyEngine, parsePolicy } from "./policy/index.ts";
export { RunRecorder, readSteps } from "./runs/index.ts";
export { connectSandbox, probeSandbox, type Sandbox } from "./sandbox/index.ts";
export {
  type OrderOutcome,
  ScramLatch,
  ScramLink,
  ScramMember,
  type TerminationHandler,
  type WorkOwner,
} from "./scram/index.ts";

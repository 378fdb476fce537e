export type { Authorization } from "./authorization.ts";
export { type Clock, shiftTimestamp, systemClock, timestampOf } from "./clock.ts";
export { type Entropy, newId, newNonce, systemEntropy } from "./entropy.ts";
export {
  createKernel,
  type Kernel,
  type KernelOptions,
  type Stage,
} from "./kernel.ts";
export type {
  Blocked,
  Completed,
  Denied,
  Failed,
  Killed,
  Outcome,
  OutcomeStatus,
  Pending,
  ScramAbort,
  Unavailable,
} from "./outcome.ts";
export type { ExecuteRequest } from "./request.ts";
export type {
  Effect,
  EffectRegistry,
  EffectResult,
  Invocation,
  KeyDirectory,
  LedgerRecord,
  PolicyDecider,
  Recorder,
  RecordVerdict,
  ScramGate,
} from "./ports.ts";

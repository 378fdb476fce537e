export type { Authorization } from "./authorization.ts";
export { defineEffect, type TypedInvocation } from "./define-effect.ts";
export { knownCode } from "./codes.ts";
export { askPolicy, noDecision } from "./decision.ts";
export { leaveUnheard } from "./thrown.ts";
export { createKernel, type Kernel, type KernelOptions, type Stage } from "./kernel.ts";
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
export type { ExecuteRequest } from "./request.ts";

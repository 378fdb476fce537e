import { type ErrorCode, errorRow, type Severity, SovereignError } from "@sovereign/core";
import type { RecordVerdict } from "./ports.ts";

/** The events that record the exits, one for each. */
export const EVENTS = {
  SCRAM_ABORT: "execution.aborted",
  DENIED: "execution.denied",
  PENDING: "execution.pending",
  BLOCKED: "execution.blocked",
  UNAVAILABLE: "execution.unavailable",
  KILLED: "execution.killed",
  FAILED: "execution.failed",
} as const;

export function indexOf(verdict: RecordVerdict | SovereignError): number | null {
  if (verdict instanceof SovereignError) return null;
  return verdict.status === "committed" ? verdict.index : null;
}

export function refusalCode(reason: string): ErrorCode {
  if (reason === "nonce_used") return "ERR_NONCE_REPLAYED";
  if (reason === "key_epoch") return "ERR_BINDING_KEY_REVOKED";
  if (reason === "expired") return "ERR_BINDING_EXPIRED";
  if (reason === "budget") return "ERR_BUDGET_EXCEEDED";
  if (reason === "breaker") return "ERR_BREAKER_OPEN";
  if (reason === "repeated") return "ERR_STEP_REPEATED";
  return reason === "invalid" ? "ERR_RECORD_REFUSED" : "ERR_RUN_FENCED";
}

export function severityOf(code: ErrorCode): Severity {
  const { kind } = errorRow(code);
  if (kind === "fatal" || kind === "integrity") return "ERROR";
  return "WARNING";
}

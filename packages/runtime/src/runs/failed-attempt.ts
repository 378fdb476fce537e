import { type ErrorCode, type LedgerEntry, parseCanonicalJson } from "@sovereign/core";
import { knownCode } from "../kernel/index.ts";
import type { LedgerReader } from "../ledger/index.ts";
import type { StepRow } from "./ports.ts";
import { isPassing } from "./run-stopped.ts";

/** How an attempt of an earlier process ended, where it did not complete. */
export interface FailedAttempt {
  readonly status: "FAILED" | "KILLED";
  readonly code: ErrorCode;
  readonly reason: string;
  readonly entryIndex: number;
  /** True where the run waited for it: it was interrupted, and is to go on. */
  readonly waited: boolean;
}

/** With these a run went on without the step: an agent that fails has abstained. */
const WENT_ON: ReadonlySet<string> = new Set(["agent.abstained", "attestation.issued"]);

const STATUS: Readonly<Record<string, FailedAttempt["status"]>> = {
  "execution.failed": "FAILED",
  "execution.killed": "KILLED",
};

/** What the run's entries say of a step's last attempt; null where it did not end badly. */
export async function readFailedAttempt(
  ledger: Pick<LedgerReader, "readStream">,
  tenantId: string,
  runId: string,
  { stepId, attempt }: Pick<StepRow, "stepId" | "attempt">,
): Promise<FailedAttempt | null> {
  let found: FailedAttempt | null = null;
  let wentOn = false;
  for await (const { bytes, index } of ledger.readStream(tenantId, runId)) {
    const { event_type: event, data } = parseCanonicalJson(bytes) as unknown as LedgerEntry;
    if (WENT_ON.has(event)) wentOn = true;
    if (event === "run.suspended" && !wentOn) found = waitedFor(found);
    const status = STATUS[event];
    if (status === undefined || data["step_id"] !== stepId || data["attempt"] !== attempt) continue;
    const code = knownCode(data["code"], "ERR_EFFECT_FAILED");
    const { reason } = data;
    const said = typeof reason === "string" ? reason : "it gave no reason";
    found = { status, code, reason: said, entryIndex: index, waited: false };
    wentOn = false;
  }
  return found;
}

function waitedFor(found: FailedAttempt | null): FailedAttempt | null {
  return found === null ? null : { ...found, waited: true };
}

/** Somebody stopped the step, or all work: nothing was wrong with it. */
const INTERRUPTED: ReadonlySet<ErrorCode> = new Set([
  "ERR_EFFECT_KILLED",
  "ERR_SCRAM_TRIPPED",
  "ERR_SCRAM_UNREADABLE",
]);

function isInterrupted({ status, code, waited }: FailedAttempt): boolean {
  return status === "KILLED" && (waited || INTERRUPTED.has(code));
}

/** @param once whether the step must not happen twice: what was killed had begun, whatever went away */
export function isLasting(end: FailedAttempt, once: boolean): boolean {
  if (once && end.status === "KILLED") return true;
  return !isPassing(end.code) && !isInterrupted(end);
}

import { type RunTrace, type TraceHead, traceIdOf, type TraceStep } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import { readRunTrace } from "../../runs/index.ts";
import { runNotFound } from "./run-folder.ts";

/** The steps of a run of any kind, as the ledger says them. */
export interface TraceReport {
  readonly trace: TraceHead;
  readonly steps: readonly TraceStep[];
}

/** @throws ERR_RUN_NOT_FOUND */
export async function describeTrace(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<TraceReport> {
  const trace: RunTrace = await readRunTrace(installation.store, tenantId, runId);
  const { head: found, steps } = trace;
  if (found?.trace_id !== traceIdOf(runId)) {
    throw await runNotFound(installation, tenantId, runId);
  }
  return { trace: found, steps };
}

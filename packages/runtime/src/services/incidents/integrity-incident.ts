import { cutText, isSovereignError } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import { proveRun, type RunProofReport } from "../runs/run-proof.ts";
import { recordOperation } from "./record-operation.ts";

/** Prove a run. Where its evidence is damaged, that is recorded as an incident of the tenant. */
export async function proveAndTell(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<RunProofReport> {
  const report = await proveRun(installation, tenantId, runId);
  const { verification_status, place, failure_reason } = report.integrity;
  if (verification_status !== "FAILED") return report;
  const summary = cutText(
    `the proof of ${runId} fails at ${place ?? "?"}: ${failure_reason ?? ""}`,
    2000,
  );
  const rows = installation.store.incidents(tenantId);
  const known = await rows.list({ limit: 1000, state: "unresolved", kind: "integrity" });
  // Who proves it again and again fills no log.
  if (known.some((one) => one.subject === runId && one.summary === summary)) return report;
  const data = { kind: "integrity", subject: runId, summary };
  try {
    const about = { event: "incident.raised", severity: "CRITICAL", data, runId } as const;
    await recordOperation(installation, tenantId, about);
  } catch (error) {
    // A ledger that is damaged may take no entry; the proof says what is wrong with it all the same.
    if (!isSovereignError(error)) throw error;
  }
  return report;
}

import { cutText } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import type { ClaimedRun } from "../../store/index.ts";
import { recordOperation } from "../incidents/record-operation.ts";
import { runNotFound } from "../runs/run-folder.ts";
import { suspendRun } from "./requeue-run.ts";

/** So many workers try a run before it is left to people. */
const TAKES_MAX = 10;

/** Whether a run was tried so often that it is left to people. */
export function isGivenUp({ takes }: ClaimedRun): boolean {
  return takes > TAKES_MAX;
}

/**
 * Leave a run to people that no worker could carry out: an incident says so, and the run waits.
 * @returns why it waits
 * @throws ERR_RUN_NOT_FOUND, ERR_RUN_FENCED
 */
export async function leaveRun(
  installation: Installation,
  { tenantId, runId, why }: ClaimedRun,
): Promise<string> {
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  const last = why === null ? "each was lost with it" : `the last said: ${why}`;
  const reason = cutText(`${TAKES_MAX} workers could not carry it out; ${last}`, 2000);
  const summary = cutText(`${runId} is left to people: ${reason}`, 2000);
  // The incident comes first: whoever dies after it leaves nothing silent.
  const data = { kind: "stuck_run", subject: runId, summary };
  const about = { event: "incident.raised", severity: "ERROR", data, runId } as const;
  await recordOperation(installation, tenantId, about);
  // What is sealed changes no more: its evidence is to be published.
  if (row.sealed === null)
    await suspendRun(installation, row, { status: "pending", reason, place: null });
  return reason;
}

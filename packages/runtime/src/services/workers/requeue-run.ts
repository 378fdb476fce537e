import { SovereignError } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import { StreamWriter } from "../../ledger/index.ts";
import { RunRecorder, type RunRow } from "../../runs/index.ts";
import { placeInQueue } from "./queue-place.ts";

/**
 * Leave a goal that waits for people to the workers.
 * @param priority from -100 to 100
 * @throws ERR_RUN_SEALED, ERR_REQUEST_INVALID, ERR_RUN_AT_WORK, ERR_RUN_FENCED
 */
export async function requeueRun(
  installation: Installation,
  row: RunRow,
  priority: number,
): Promise<void> {
  requireWaiting(row);
  const place = placeInQueue(installation, priority);
  const { store, clock } = installation;
  const { runId, tenantId, name, mode, plan, planDigest } = row;
  const epoch = await store.claimRun(tenantId, runId);
  const writer = new StreamWriter(store, tenantId, runId, await store.streamHead(tenantId, runId));
  const recorder = new RunRecorder({ runId, tenantId, writer, clock, epoch });
  const data = { reason: "it waits for a worker" };
  const about = { severity: "INFO", data, envelopes: [], nonces: [], keyEpoch: null } as const;
  const verdict = await recorder.write(
    { event: "run.suspended", ...about },
    { runId, tenantId, name, mode, status: "queued", plan, planDigest, reason: null, sealed: null },
    place,
  );
  if (verdict.status === "committed") return;
  const text = `Run ${runId} went on at the same moment: it was not left to the workers (${verdict.detail}). Look at it with: sovereign runs show ${runId}`;
  throw new SovereignError("ERR_RUN_FENCED", text, { runId });
}

/** @throws ERR_RUN_SEALED, ERR_REQUEST_INVALID, ERR_RUN_AT_WORK */
export function requireWaiting({ runId, kind, status, sealed }: RunRow): void {
  if (sealed !== null)
    throw new SovereignError("ERR_RUN_SEALED", `Run ${runId} has ended: ${status}.`);
  if (kind !== "goal") {
    const text = `Expected the run of a goal, found ${kind}. Only a command of the machine goes on with it.`;
    throw new SovereignError("ERR_REQUEST_INVALID", text);
  }
  if (status === "pending") return;
  const text =
    status === "queued" ? `Run ${runId} waits for a worker.` : `Run ${runId} is being worked on.`;
  throw new SovereignError("ERR_RUN_AT_WORK", text);
}

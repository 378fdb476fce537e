import { type EntryData, SovereignError } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import { type QueuePlace, readRun, StreamWriter } from "../../ledger/index.ts";
import { RunRecorder, type RunRow } from "../../runs/index.ts";
import { openFrozenPolicy } from "../../policy/index.ts";
import { demandsOf } from "../runs/open-session.ts";
import { openGoalPlan } from "../goals/goal-plan.ts";
import { placeInQueue } from "./queue-place.ts";

export interface Requeued {
  /** From -100 to 100. */
  readonly priority: number;
  /** True to do a step anew of which nobody knows whether it was done. */
  readonly retryFailed: boolean;
}

/**
 * Leave a goal that waits for people to the workers. That a step is to be done anew is an entry of the run:
 * the worker that takes it next reads it there.
 *
 * @throws ERR_RUN_SEALED, ERR_REQUEST_INVALID, ERR_RUN_AT_WORK, ERR_RUN_FENCED
 */
export async function requeueRun(
  installation: Installation,
  row: RunRow,
  { priority, retryFailed }: Requeued,
): Promise<void> {
  requireWaiting(row);
  const { tenantId, runId, plan } = row;
  const { goal } = openGoalPlan(runId, plan);
  // What was begun before contents were kept where others reach them is in this folder alone.
  const kept = (await installation.contents?.(tenantId).get(goal.policy_digest)) ?? null;
  const demands = demandsOf(kept === null ? { limits: null } : openFrozenPolicy(kept, runId));
  const contentPlace = kept === null ? null : installation.contentPlace;
  const { node, config } = installation;
  const place = placeInQueue({ node, contentPlace, config }, { ...goal, demands }, priority);
  const reason = retryFailed
    ? "it waits for a worker, which tries again what failed"
    : "it waits for a worker";
  await suspendRun(installation, row, { status: "queued", reason, place, retryFailed });
}

/**
 * Record that a run waits which nobody carries out now: whoever had it can write no more.
 * @param how.place null where it waits for people
 * @throws ERR_RUN_FENCED where somebody went on with it at the same moment
 */
export async function suspendRun(
  { store, clock }: Pick<Installation, "store" | "clock">,
  row: RunRow,
  how: {
    readonly status: "queued" | "pending";
    readonly reason: string;
    readonly place: QueuePlace | null;
    readonly retryFailed?: boolean;
  },
): Promise<void> {
  const { runId, tenantId, name, mode, plan, planDigest } = row;
  const { status, reason, place, retryFailed = false } = how;
  const data = retryFailed ? { reason, retry_failed: true } : { reason };
  const epoch = await store.claimRun(tenantId, runId);
  const writer = new StreamWriter(store, tenantId, runId, await store.streamHead(tenantId, runId));
  const recorder = new RunRecorder({ runId, tenantId, writer, clock, epoch });
  const about = { severity: "INFO", envelopes: [], nonces: [], keyEpoch: null } as const;
  const said = status === "pending" ? reason : null;
  const verdict = await recorder.write(
    { event: "run.suspended", data, ...about },
    { runId, tenantId, name, mode, status, plan, planDigest, reason: said, sealed: null },
    place,
  );
  if (verdict.status === "committed") return;
  const text = `Run ${runId} went on at the same moment: nothing was recorded (${verdict.detail}). Look at it with: sovereign runs show ${runId}`;
  throw new SovereignError("ERR_RUN_FENCED", text, { runId });
}

/** Whether the last that was said of a run is that a worker is to try again what failed. */
export async function isLeftForRetry(
  { store }: Pick<Installation, "store">,
  tenantId: string,
  runId: string,
): Promise<boolean> {
  const { count } = await store.streamHead(tenantId, runId);
  if (count === 0) return false;
  for await (const { entry } of readRun(store, tenantId, runId, count - 1)) {
    if (entry.event_type !== "run.suspended") return false;
    return (entry.data as EntryData<"run.suspended">).retry_failed === true;
  }
  return false;
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

import { SovereignError } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import { type QueuePlace, StreamWriter } from "../../ledger/index.ts";
import { RunRecorder, type RunRow } from "../../runs/index.ts";
import { openFrozenPolicy } from "../../policy/index.ts";
import { demandsOf } from "../runs/open-session.ts";
import { openGoalPlan } from "../goals/goal-plan.ts";
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
  const { tenantId, runId, plan } = row;
  const { goal } = openGoalPlan(runId, plan);
  // What was begun before contents were kept where others reach them is in this folder alone.
  const kept = (await installation.contents?.(tenantId).get(goal.policy_digest)) ?? null;
  const demands = demandsOf(kept === null ? { limits: null } : openFrozenPolicy(kept, runId));
  const contentPlace = kept === null ? null : installation.contentPlace;
  const { node } = installation;
  const place = placeInQueue({ node, contentPlace }, { ...goal, demands }, priority);
  await suspendRun(installation, row, { status: "queued", reason: "it waits for a worker", place });
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
  },
): Promise<void> {
  const { runId, tenantId, name, mode, plan, planDigest } = row;
  const { status, reason, place } = how;
  const epoch = await store.claimRun(tenantId, runId);
  const writer = new StreamWriter(store, tenantId, runId, await store.streamHead(tenantId, runId));
  const recorder = new RunRecorder({ runId, tenantId, writer, clock, epoch });
  const about = { severity: "INFO", envelopes: [], nonces: [], keyEpoch: null } as const;
  const said = status === "pending" ? reason : null;
  const verdict = await recorder.write(
    { event: "run.suspended", data: { reason }, ...about },
    { runId, tenantId, name, mode, status, plan, planDigest, reason: said, sealed: null },
    place,
  );
  if (verdict.status === "committed") return;
  const text = `Run ${runId} went on at the same moment: nothing was recorded (${verdict.detail}). Look at it with: sovereign runs show ${runId}`;
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

import { setTimeout as sleep } from "node:timers/promises";
import { SovereignError } from "@sovereign/core";
import { checkWho, recordOperation } from "../incidents/record-operation.ts";
import { CANCEL_REQUESTED, type Cancelled } from "./cancel-watch.ts";
import type { RunRow } from "../../runs/index.ts";
import { resumeRun } from "./kinds.ts";
import type { RunOptions } from "./lifecycle.ts";
import { publicationOf } from "./publication.ts";
import { runNotFound } from "./run-folder.ts";
import type { RunResult } from "./run-result.ts";
import { publishedAt } from "./seal-run.ts";

/** How long whoever carries the run out may take to end it, before it is ended from here. */
const PATIENCE_MS = 10_000;
const LOOK_MS = 100;

/**
 * End a run that has not ended. Whoever carries it out, on any node, ends its path and seals it. Where nobody
 * does, it is taken over and sealed from here; a process that was only slow can write nothing more then.
 *
 * @throws ERR_RUN_NOT_FOUND, ERR_RUN_SEALED
 */
export async function cancelRun(
  options: RunOptions,
  runId: string,
  asked: Cancelled,
): Promise<RunResult> {
  const { installation, tenantId } = options;
  const { store } = installation;
  const row = await store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  if (row.sealed !== null) throw ended(runId, row.status);
  const cancelled = { by: checkWho(asked.by), reason: checkReason(asked.reason) };
  const about = { event: CANCEL_REQUESTED, severity: "WARNING", data: cancelled, runId } as const;
  await recordOperation(installation, tenantId, about);
  // Nobody works on a run that waits for people.
  const patience = row.status === "running" ? PATIENCE_MS : 0;
  for (let waited = 0; waited < patience; waited += LOOK_MS) {
    const now = await store.findRun(tenantId, runId);
    if (now !== null && now.sealed !== null) {
      const publication = await publicationOf(installation, now);
      if (publication === "here" || publication === "elsewhere")
        return told(row, resultOf(installation, now, publication === "here"));
      // What a kill kept from being published is made up for below.
      if (publication === "left") break;
    }
    await sleep(LOOK_MS, undefined, { signal: options.signal });
  }
  return told(row, await resumeRun({ ...options, cancelled }, runId));
}

/** A run that had done all before it was cancelled has ended as what it is. */
function told({ kind }: RunRow, result: RunResult): RunResult {
  if (result.status !== "completed" || result.reason !== null) return result;
  const isBack = kind === "exec_request" || kind === "agent";
  const back = ` Its commits are on the branch. To take them back: sovereign exec rollback ${result.runId}`;
  return { ...result, reason: `It was done before it was cancelled.${isBack ? back : ""}` };
}

const CODE = "ERR_RUN_CANCELLED";

/** @param isHere false where another node has the files of its evidence */
function resultOf(
  installation: RunOptions["installation"],
  { runId, status, reason }: RunRow,
  isHere: boolean,
): RunResult {
  const files = isHere ? publishedAt(installation, runId) : { bundle: null, trustRoot: null };
  const rest = { outcome: null, code: CODE, artifacts: [] };
  return { runId, status: status === "completed" ? status : "failed", reason, ...files, ...rest };
}

function checkReason(reason: string): string {
  if (
    reason.trim() !== "" &&
    reason.length <= 1000 &&
    !reason.includes("\0") &&
    reason.isWellFormed()
  ) {
    return reason;
  }
  throw new SovereignError("ERR_REQUEST_INVALID", "Expected a reason of 1 to 1000 characters.");
}

function ended(runId: string, status: string): SovereignError {
  const text = `Run ${runId} has ended: ${status}. There is nothing to cancel.`;
  return new SovereignError("ERR_RUN_SEALED", text, { runId });
}

import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { isSwitchOpen, removeHostile } from "../executor/index.ts";
import type { RunRow } from "../runs/index.ts";
import { authorityOf } from "./open-session.ts";
import type { RunResult } from "./run-result.ts";
import { isPublished, type Place, publishRun } from "./seal-run.ts";

/**
 * Make up for a process that was killed between a run's seal and its bundle, whatever kind of run
 * it is.
 *
 * @throws ERR_RUN_SEALED where nothing is left to be done
 */
export async function publishSealed(place: Place, row: RunRow): Promise<RunResult> {
  const { installation } = place;
  const { runId, status, reason } = row;
  if (isPublished(installation, runId)) {
    throw new SovereignError("ERR_RUN_SEALED", `Run ${runId} has ended: ${status}.`);
  }
  const authority = authorityOf(installation, null);
  const { bundle, trustRoot } = await publishRun(place, authority, row);
  const ended = status === "completed" ? "completed" : "failed";
  const rest = { outcome: null, code: null, artifacts: [] };
  return { runId, status: ended, reason, bundle, trustRoot, ...rest };
}

/**
 * What the steps worked in is in the patches, and a tree that hostile code wrote is not kept; copies
 * of what could not be put back stay where the message says they are.
 */
export async function removeScratch(folder: string): Promise<void> {
  const scratch = join(folder, "work");
  if (!isSwitchOpen(join(scratch, "switch"))) await removeHostile(scratch);
}

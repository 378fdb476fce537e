import { join } from "node:path";
import { keptBy, keptIn, releaseKept } from "../../executor/index.ts";
import type { RunRow } from "../../runs/index.ts";
import type { RunOptions } from "../runs/lifecycle.ts";
import { rollbackFolder, type Standing, switchFolder, withStanding } from "./repository-state.ts";
import { publishSealed, removeScratch, isPublished } from "../runs/seal-run.ts";
import { type SettledRollback, settleRollback } from "./rollback-kind.ts";

/** Where an execution stands, after what a kill left has been brought to an end. */
export interface ExecStatus extends Pick<Standing, "broughtTo" | "head" | "recovery" | "place"> {
  readonly runId: string;
  readonly status: RunRow["status"];
  readonly reason: string | null;
  readonly repository: string;
  readonly base: string;
  /** A rollback that a kill had left, and what became of it now. */
  readonly rollback: SettledRollback | null;
  /** Refs and marks of packs in the repository, and files that another program wrote meanwhile. */
  readonly kept: readonly string[];
}

/**
 * Say where an execution stands; what a kill left halfway is ended first.
 * @throws ERR_RUN_NOT_FOUND, ERR_REPOSITORY_BUSY while the run is alive
 */
export function execStatus(options: RunOptions, runId: string): Promise<ExecStatus> {
  return withStanding(options, runId, async (standing) => {
    const { frozen, broughtTo, head, recovery, place, repository } = standing;
    // Read before the switches were looked at: emptied folders say no more what was kept.
    const files = keptFiles(options, runId);
    const rollback = await settleRollback(options, standing);
    await finishSealed(options, standing);
    const { root, commit: base } = frozen.plan.repository;
    const { status, reason } = (await rowNow(options, runId)) ?? standing.row;
    const why = status === "running" ? deadText(runId) : reason;
    const found = { runId, status, reason: why, repository: root, base };
    const kept = [...(await keptIn(repository, runId)), ...files];
    return { ...found, broughtTo, head, recovery, place, rollback, kept };
  });
}

/** A run that ended while its repository was waited for is not dead. */
function rowNow({ installation, tenantId }: RunOptions, runId: string): Promise<RunRow | null> {
  return installation.store.findRun(tenantId, runId);
}

/** A living run holds its repository, which is held here. */
function deadText(runId: string): string {
  return `its process is dead. To go on with it, type: sovereign exec resume ${runId}`;
}

function keptFiles({ installation }: RunOptions, runId: string): string[] {
  const folders = [
    switchFolder(installation, runId),
    join(rollbackFolder(installation, runId), "switch"),
  ];
  return folders.flatMap(keptBy).map((one) => one.kept);
}

/** What comes after the seal: the bundle, and nothing of the scratch. */
async function finishSealed(options: RunOptions, { row, repository }: Standing): Promise<void> {
  const { installation } = options;
  if (row.sealed === null) return;
  if (!isPublished(installation, row.runId)) await publishSealed(options, row);
  await removeScratch(installation.folder.run(row.runId));
  await releaseKept(repository, row.runId, ["base", "head"]);
}

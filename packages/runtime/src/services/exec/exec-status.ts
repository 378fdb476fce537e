import { releaseKept } from "../../executor/index.ts";
import type { RunRow } from "../../runs/index.ts";
import type { RunOptions } from "../runs/lifecycle.ts";
import { type Standing, withStanding } from "./repository-state.ts";
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
}

/**
 * Say where an execution stands; what a kill left halfway is ended first.
 * @throws ERR_RUN_NOT_FOUND, ERR_REPOSITORY_BUSY while the run is alive
 */
export function execStatus(options: RunOptions, runId: string): Promise<ExecStatus> {
  return withStanding(options, runId, async (standing) => {
    const { row, frozen, broughtTo, head, recovery, place } = standing;
    const rollback = await settleRollback(options, standing);
    await finishSealed(options, standing);
    const { root, commit: base } = frozen.plan.repository;
    const { status, reason } = row;
    const found = { runId, status, reason, repository: root, base };
    return { ...found, broughtTo, head, recovery, place, rollback };
  });
}

/** What comes after the seal: the bundle, and nothing of the scratch. */
async function finishSealed(options: RunOptions, { row, repository }: Standing): Promise<void> {
  const { installation } = options;
  if (row.sealed === null) return;
  if (!isPublished(installation, row.runId)) await publishSealed(options, row);
  await removeScratch(installation.folder.run(row.runId));
  await releaseKept(repository, row.runId, ["base", "head"]);
}

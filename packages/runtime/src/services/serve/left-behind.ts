import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Settings } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import { checkTenant, type RunRow } from "../../runs/index.ts";
import { openGoalPlan } from "../goals/goal-plan.ts";
import { admittedCaller } from "../runs/admitted-caller.ts";

const RECOVER_MAX = 1000;
const RECOVER_PAGE = 50;

/** Told of a run that nobody goes on with, or of a tenant whose runs could not be listed. */
export type Lost = (tenantId: string, runId: string | null, error: unknown) => void;

interface LeftRun {
  readonly tenantId: string;
  readonly runId: string;
  readonly isQuestion: boolean;
}

/**
 * Runs of the API that a server of this data folder left unfinished. What rows and entries say is
 * their tenant's: what cannot be read of one keeps no other from going on.
 */
export async function leftBehind(
  settings: Settings,
  place: Installation,
  lost: Lost,
): Promise<readonly LeftRun[]> {
  const found: LeftRun[] = [];
  for (const tenantId of tenantsWithPolicy(settings.home)) {
    try {
      for await (const row of openRuns(place, tenantId)) {
        try {
          if (await isLeftHere(place, row))
            found.push({ tenantId, runId: row.runId, isQuestion: isQuestion(row) });
        } catch (error) {
          lost(tenantId, row.runId, error);
        }
      }
    } catch (error) {
      lost(tenantId, null, error);
    }
  }
  return found;
}

/** A few at a time: each has its plan. */
async function* openRuns(place: Installation, tenantId: string): AsyncGenerator<RunRow> {
  for (const status of ["running", "pending"]) {
    const wanted = { limit: RECOVER_PAGE, status, kind: "goal" };
    let after: string | undefined;
    for (let count = 0; count < RECOVER_MAX; count += RECOVER_PAGE) {
      const page = after === undefined ? wanted : { ...wanted, after };
      const rows = await place.store.listRuns(tenantId, page);
      yield* rows;
      if (rows.length < RECOVER_PAGE) break;
      after = rows.at(-1)?.runId;
    }
  }
}

async function isLeftHere(place: Installation, { tenantId, runId }: RunRow): Promise<boolean> {
  if (!existsSync(place.folder.run(runId))) return false;
  // Workers go on with what was left to them.
  if ((await place.store.queue.carriersOf(tenantId, runId)) !== null) return false;
  return (await admittedCaller(place.store, tenantId, runId)) !== null;
}

/** A run in which a model was asked for a plan. */
function isQuestion({ runId, plan }: RunRow): boolean {
  try {
    return openGoalPlan(runId, plan).goal.planner === "question";
  } catch {
    // Whoever goes on with it says what is wrong with its plan.
    return false;
  }
}

/** Only they can have submitted anything. */
function tenantsWithPolicy(home: string): string[] {
  const folder = join(home, "policies");
  if (!existsSync(folder)) return [];
  return readdirSync(folder).flatMap((file) => {
    const [, tenantId] = /^(.+)\.yaml$/.exec(file) ?? [];
    if (tenantId === undefined) return [];
    try {
      checkTenant(tenantId);
      return [tenantId];
    } catch {
      // A file that is called otherwise is no tenant's.
      return [];
    }
  });
}

import { existsSync } from "node:fs";
import type { Installation } from "../../installation/index.ts";
import type { RunRow } from "../../runs/index.ts";
import { publishingBy } from "./run-folder.ts";
import { publishedAt } from "./seal-run.ts";

/**
 * Where the evidence of a run is that has ended. `coming`: a process of this machine is about to write
 * it. `left`: one was, and died; the evidence can be made again of the ledger. `elsewhere`: another node
 * carried the run out, and the ledger alone has its evidence here.
 */
export type Publication = "here" | "coming" | "left" | "elsewhere";

/** @returns null where the run has not ended, or no signed head covers its end yet */
export async function publicationOf(
  installation: Installation,
  row: RunRow,
): Promise<Publication | null> {
  // Looked at first: whoever has published it is not about to any more.
  const owner = publishingBy(installation, row.runId);
  if (existsSync(publishedAt(installation, row.runId).bundle)) return "here";
  if (owner === "living") return "coming";
  if (!(await isProvable(installation, row))) return null;
  return owner === "dead" ? "left" : "elsewhere";
}

/** Goals move: whether a signed head of the log covers the run's last entry, whoever signed it. */
async function isProvable({ store }: Installation, row: RunRow): Promise<boolean> {
  const { tenantId, runId, kind, sealed } = row;
  if (sealed === null || kind !== "goal") return false;
  const index = await store.indexOf(tenantId, runId, sealed.count);
  return index !== null && (await store.checkpointCovering(tenantId, index + 1)) !== null;
}

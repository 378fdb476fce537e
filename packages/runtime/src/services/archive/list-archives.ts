import type { Installation } from "../../installation/index.ts";
import type { RecordedReport } from "./archive-reports.ts";
import { archiveRecords } from "./make-archive.ts";

/** What the ledger recorded of a tenant's archives, the oldest first. */
export async function listArchives(
  installation: Installation,
  tenantId: string,
): Promise<RecordedReport[]> {
  const rows = await installation.store.archives(tenantId).recorded();
  const kept = new Map(rows.map((row) => [row.digest, row]));
  const found = new Map<string, RecordedReport>();
  for await (const { event, at, data } of archiveRecords(installation)) {
    if (event !== "ledger.archived" || data.tenant_id !== tenantId) continue;
    found.set(data.archive, {
      digest: data.archive,
      at,
      by: data.by.user,
      before: data.before,
      runs: data.runs,
      entries: data.entries,
      firstIndex: data.first_index,
      lastIndex: data.last_index,
      bytes: data.bytes,
      // Killed right after it was recorded, the command took nothing out.
      inDatabase: kept.get(data.archive)?.inDatabase ?? data.entries,
    });
  }
  return [...found.values()];
}

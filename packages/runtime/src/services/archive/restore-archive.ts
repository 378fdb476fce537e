import { type Installation, recordLedgerEvent, typedBy } from "../../installation/index.ts";
import type { ArchivedBytes } from "../../ledger/index.ts";
import { keepArchives } from "../../store/index.ts";
import { refusedArchive } from "./archive-error.ts";
import type { ArchiveFile } from "./archive-file.ts";
import type { ArchiveProgress, RestoredReport } from "./archive-reports.ts";
import { moveAll } from "./make-archive.ts";
import { readArchive } from "./read-archive.ts";

/**
 * Put what left the database back. The database holds each byte against the hash that stayed. Killed at any
 * instant, the same command goes on.
 *
 * @param file untrusted
 * @throws ERR_ARCHIVE_INVALID, ERR_ARCHIVE_REFUSED, ERR_FILE_UNREADABLE
 */
export async function restoreArchive(
  installation: Installation,
  file: string,
  {
    databaseUrl,
    onProgress,
  }: {
    readonly databaseUrl: string | null;
    readonly onProgress: (progress: ArchiveProgress) => void;
  },
): Promise<RestoredReport> {
  const { archive, inDatabase } = await openRecorded(installation, file, onProgress);
  const { digest, tenant, entries } = archive.report;
  if (inDatabase < entries) {
    // Killed after it, the command says it again.
    const data = { tenant_id: tenant, archive: digest, entries, by: typedBy(installation.node) };
    const { store, clock } = installation;
    await recordLedgerEvent(store, clock, "ledger.restored", "WARNING", data);
  }
  const where = { folder: installation.folder.postgres, databaseUrl };
  const putBack = await keepArchives(where, tenant, (keeper) =>
    moveAll(archive, (batch) => keeper.putBack(batch), "archive.put_back", onProgress),
  );
  return { digest, tenant, entries, putBack };
}

/** Archives that a command was given: what it reads of the ledger, it also finds in them. */
export async function openArchives(
  installation: Installation,
  files: readonly string[],
): Promise<ArchivedBytes> {
  const archives: ArchiveFile[] = [];
  for (const file of files) {
    archives.push((await openRecorded(installation, file, () => undefined)).archive);
  }
  const first = <T>(find: (archive: ArchiveFile) => T | null): T | null => {
    for (const archive of archives) {
      const found = find(archive);
      if (found !== null) return found;
    }
    return null;
  };
  return {
    entry: (log, index) => first((archive) => archive.entry(log, index)),
    envelope: (log, digest) => first((archive) => archive.envelope(log, digest)),
  };
}

/** An archive that is whole, and that this installation recorded. */
async function openRecorded(
  installation: Installation,
  file: string,
  onProgress: (progress: ArchiveProgress) => void,
): Promise<{ archive: ArchiveFile; inDatabase: number }> {
  // Whose signature it has does not matter: its digest is recorded, and each byte is held against a hash.
  const archive = readArchive(file, { trust: null, onProgress });
  const { report } = archive;
  if (report.installation !== installation.id) {
    const text = `${file} is an archive of the installation ${report.installation}; this is ${installation.id}. Nothing of it was used.`;
    throw refusedArchive(text);
  }
  const recorded = await installation.store.archives(report.tenant).recorded();
  const known = recorded.find(({ digest }) => digest === report.digest);
  if (known !== undefined) return { archive, inDatabase: known.inDatabase };
  const text = `${file} has the digest ${report.digest}, and the ledger recorded no such archive of ${report.tenant}. Those that it recorded: sovereign ledger archives --tenant ${report.tenant}`;
  throw refusedArchive(text);
}

import { readNamed, parseTrustRoot } from "@sovereign/verify";
import type { Settings } from "../../home/index.ts";
import { checkTenant } from "../../runs/index.ts";
import type { Opened } from "../opened.ts";
import type {
  ArchiveProgress,
  ArchiveReport,
  ArchiveVerification,
  RecordedReport,
  RestoredReport,
} from "./archive-reports.ts";
import { listArchives } from "./list-archives.ts";
import { makeArchive } from "./make-archive.ts";
import { readArchive } from "./read-archive.ts";
import { restoreArchive } from "./restore-archive.ts";

const TRUST_BYTES_MAX = 64 * 1024 * 1024;

export interface ArchiveServices {
  /**
   * Move the bytes of old runs out of the database into a file, or go on with that.
   * @returns null where no run is as old
   */
  archiveLedger(input: {
    readonly tenantId: string;
    readonly before: string;
    readonly out: string;
    readonly onProgress: (progress: ArchiveProgress) => void;
  }): Promise<ArchiveReport | null>;
  listArchives(tenantId: string): Promise<readonly RecordedReport[]>;
  /** Needs no installation. */
  verifyArchive(
    file: string,
    input: {
      readonly trustFile: string | null;
      readonly onProgress: (progress: ArchiveProgress) => void;
    },
  ): Promise<ArchiveVerification>;
  /** Put the bytes of an archive back into the database. */
  restoreArchive(
    file: string,
    onProgress: (progress: ArchiveProgress) => void,
  ): Promise<RestoredReport>;
}

export function archiveServices(
  settings: Settings,
  version: string,
  opened: Opened,
): ArchiveServices {
  return {
    archiveLedger: (input) =>
      opened((installation) =>
        makeArchive(installation, { ...input, version, databaseUrl: settings.databaseUrl }),
      ),
    listArchives: (tenantId) =>
      opened((installation) => {
        checkTenant(tenantId);
        return listArchives(installation, tenantId);
      }),
    verifyArchive: (file, { trustFile, onProgress }) =>
      // What cannot be read is an answer, too, and comes as others do.
      new Promise((resolve) => {
        const trust =
          trustFile === null ? null : parseTrustRoot(readNamed(trustFile, TRUST_BYTES_MAX));
        resolve(readArchive(file, { trust, onProgress }).report);
      }),
    restoreArchive: (file, onProgress) =>
      opened((installation) =>
        restoreArchive(installation, file, { databaseUrl: settings.databaseUrl, onProgress }),
      ),
  };
}

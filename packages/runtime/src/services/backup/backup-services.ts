import { readNamed, parseTrustRoot } from "@sovereign/verify";
import { type Settings, passphraseIn } from "../../home/index.ts";
import { systemClock } from "../../system/index.ts";
import type { Opened } from "../opened.ts";
import type {
  BackupProgress,
  BackupReport,
  BackupVerification,
  RestoreReport,
} from "./backup-reports.ts";
import { createBackup } from "./create-backup.ts";
import { readBackup } from "./read-backup.ts";
import { restoreBackup } from "./restore-backup.ts";

const TRUST_BYTES_MAX = 64 * 1024 * 1024;

export interface BackupServices {
  /** @param write takes the bytes of the backup in order */
  createBackup(
    input: BackupInput & { readonly write: (bytes: Uint8Array) => void },
  ): Promise<BackupReport>;
  /** Needs no installation. */
  verifyBackup(
    file: string,
    input: Omit<BackupInput, "passphraseFile"> & {
      readonly passphraseFile: string | null;
      readonly trustFile: string | null;
    },
  ): Promise<BackupVerification>;
  /** Make the data folder and the database, which are empty, those of a backup. */
  restoreBackup(
    file: string,
    input: BackupInput & { readonly trustFile: string | null },
  ): Promise<RestoreReport>;
}

interface BackupInput {
  /** A file, so that the passphrase never stands among a command's words, which others can read. */
  readonly passphraseFile: string;
  readonly onProgress: (progress: BackupProgress) => void;
}

export function backupServices(
  settings: Settings,
  version: string,
  opened: Opened,
): BackupServices {
  const trustIn = (file: string | null) =>
    file === null ? null : parseTrustRoot(readNamed(file, TRUST_BYTES_MAX));
  return {
    createBackup: async ({ passphraseFile, ...input }) => {
      const passphrase = passphraseIn(passphraseFile);
      const { databaseUrl } = settings;
      return opened((installation) =>
        createBackup(installation, { ...input, passphrase, databaseUrl, version }),
      );
    },
    verifyBackup: async (file, { passphraseFile, trustFile, onProgress }) => {
      const passphrase = passphraseFile === null ? null : passphraseIn(passphraseFile);
      const options = { passphrase, trust: trustIn(trustFile), onProgress };
      return (await readBackup(file, options)).report;
    },
    restoreBackup: async (file, { passphraseFile, trustFile, onProgress }) => {
      const { home, environment } = settings;
      return restoreBackup(file, {
        home,
        // Of the environment alone: there is no config.yaml yet.
        databaseUrl: environment["DATABASE_URL"] || null,
        passphrase: passphraseIn(passphraseFile),
        trust: trustIn(trustFile),
        clock: systemClock,
        onProgress,
      });
    },
  };
}

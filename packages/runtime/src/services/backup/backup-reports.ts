/** What goes on while a backup is made, verified or restored. */
export type BackupProgress =
  | { readonly event: "backup.rows"; readonly table: string; readonly rows: number }
  | { readonly event: "backup.files"; readonly files: number; readonly bytes: number }
  | { readonly event: "backup.read"; readonly parts: number; readonly bytes: number };

/** What a backup holds. */
interface BackupContents {
  readonly installation: string;
  readonly madeAt: string;
  /** The SHA-256 of the list of its parts: it names this backup and no other. */
  readonly sums: string;
  readonly logs: number;
  readonly entries: number;
  readonly rows: number;
  readonly files: number;
  readonly parts: number;
  readonly bytes: number;
  /** Whose signature it has. */
  readonly signer: string;
}

export interface BackupReport extends BackupContents {
  /** What lies in the data folder and is not in the backup. */
  readonly leftOut: readonly string[];
}

export interface BackupVerification extends BackupContents {
  /**
   * `VALID`: nothing was changed, by a key that the trust root knows, or by the passphrase.
   * `UNTRUSTED_KEY`: nothing was changed since somebody signed it, and nobody says who.
   */
  readonly verdict: "VALID" | "UNTRUSTED_KEY";
  /** What says that it is the installation's. */
  readonly trustedBy: readonly ("trust root" | "passphrase")[];
  readonly version: string;
}

export interface RestoreReport {
  readonly installation: string;
  readonly home: string;
  /** Where the database is now; never with a password. */
  readonly database: string;
  readonly madeAt: string;
  readonly rows: number;
  readonly files: number;
  /** The stop that holds until two people reset it. */
  readonly eventId: string;
  /** The host of another database that the restored `config.yaml` names; null where it names none. */
  readonly otherDatabase: string | null;
}

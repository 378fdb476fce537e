import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by store and ledger. */
export const storeCodes = {
  ERR_STORE_UNAVAILABLE: row.transient("The database does not answer; nothing was acknowledged."),
  ERR_CONTENT_UNAVAILABLE: row.transient("What every node must reach cannot be kept or read."),
  ERR_CONTENT_CREDENTIALS: row.input("The server of contents needs keys that are not set."),
  ERR_ENTRY_TOO_LARGE: row.input("A ledger entry is larger than an entry may be."),
  ERR_LEDGER_CORRUPT: row.integrity("The ledger holds an entry that is not what was recorded."),
  ERR_LEDGER_ROLLED_BACK: row.integrity(
    "The database holds less than, or other than, what was signed.",
  ),
  ERR_DATABASE_URL: row.input("DATABASE_URL is not the address of a PostgreSQL server."),
  ERR_POSTGRES_MISSING: row.fatal("No PostgreSQL is installed, and DATABASE_URL names none."),
  ERR_POSTGRES_START: row.fatal("PostgreSQL does not start, or refuses the schema."),
  ERR_MIGRATION_CHANGED: row.fatal("The database was made by another version of Sovereign."),
  ERR_BACKUP_INVALID: row.integrity("A backup is damaged, or is not what was signed."),
  ERR_RESTORE_REFUSED: row.input("A backup is restored into an empty folder and database alone."),
  ERR_ARCHIVE_INVALID: row.integrity("An archive is damaged, or is not what was recorded."),
  ERR_ARCHIVE_REFUSED: row.input("An archive cannot be made of this, or be used here."),
  ERR_ENTRY_ARCHIVED: {
    ...row.input("The entry's bytes are in an archive, outside the database."),
    http: 409,
    exit: 1,
  },
  ERR_STREAM_CONFLICT: row.transient("Another process wrote to the stream first."),
} as const satisfies Record<string, ErrorRow>;

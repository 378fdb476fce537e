/** A migration that a database has. Published types name it, so it stands apart from the driver. */
export interface AppliedMigration {
  readonly name: string;
  readonly checksum: string;
}

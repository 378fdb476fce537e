/** Where the database is. */
export interface Where {
  readonly folder: string;
  readonly databaseUrl: string | null;
}

import { SovereignError } from "@sovereign/core";
import pg from "pg";
import { asOwner } from "./as-owner.ts";
import { codeOf } from "./database.ts";
import type { AppliedMigration } from "./applied-migration.ts";
import { migrate, readApplied, requireKnown } from "./migrate.ts";
import type { Where } from "./where.ts";

/** What one fetch brings, about; so many rows at most. */
const FETCH_BYTES = 4 * 1024 * 1024;
const FETCH_ROWS_MAX = 2000;

/** The rows of the tables are text of one spelling, whatever the server is set to. */
const SPELLING = `set local timezone = 'UTC'; set local datestyle = 'ISO';
  set local bytea_output = 'hex'; set local extra_float_digits = 3;
  set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0;
  set local search_path = pg_catalog, pg_temp`;

/** A table of the schema, with the columns that are written. */
export interface DumpedTable {
  readonly name: string;
  readonly columns: readonly string[];
}

/** The schema that rows are of. */
export interface DumpedSchema {
  readonly migrations: readonly AppliedMigration[];
  readonly tables: readonly DumpedTable[];
}

/** Takes what a database holds. */
export interface DumpSink {
  /** Called first, once the snapshot is taken: what is committed from here on is not in it. */
  readonly begun: (schema: DumpedSchema) => void;
  /** Rows of one table as JSON, in the order of its key; each table's after one another. */
  readonly rows: (table: string, rows: readonly string[]) => void;
}

/**
 * Read all rows of all tables as of one instant, as the database's owner. Work goes on meanwhile.
 * @throws ERR_POSTGRES_…, ERR_STORE_UNAVAILABLE
 */
export async function dumpDatabase(where: Where, sink: DumpSink): Promise<void> {
  await asOwner(where, async (client) => {
    await client.query("begin isolation level repeatable read read only");
    await client.query(SPELLING);
    const schema = { migrations: await readApplied(client), tables: await tablesOf(client) };
    await client.query("set local role sovereign_owner");
    sink.begun(schema);
    for (const table of schema.tables) await dumpTable(client, table, sink);
    await client.query("commit");
  });
}

async function dumpTable(client: pg.Client, table: DumpedTable, sink: DumpSink): Promise<void> {
  if (table.columns.length === 0) return;
  const columns = table.columns.map(identifier).join(", ");
  const order = await keyOf(client, table.name);
  const from = `select ${columns} from sovereign.${identifier(table.name)}${order}`;
  const text = `select row_to_json(r)::text as row from (${from}) r`;
  await client.query(`declare rows no scroll cursor for ${text}`);
  for (let count = 100; ; ) {
    const page = await client.query<{ row: string }>(`fetch ${count} from rows`);
    const rows = page.rows.map(({ row }) => row);
    if (rows.length > 0) sink.rows(table.name, rows);
    if (rows.length < count) break;
    const bytes = rows.reduce((sum, row) => sum + row.length, 1);
    count = Math.max(1, Math.min(FETCH_ROWS_MAX, Math.floor((FETCH_BYTES * count) / bytes)));
  }
  await client.query("close rows");
}

/** Writes rows as {@link DumpSink} was given them. */
export interface Loader {
  load(table: string, rows: readonly string[]): Promise<void>;
}

/**
 * Fill an empty database. Nothing of it is there before all of it is.
 *
 * @param schema untrusted: its names are held against those of the database
 * @param work loads the rows; what it throws leaves the database empty
 * @throws ERR_RESTORE_REFUSED where the database holds something, ERR_MIGRATION_CHANGED where another
 *   version made the rows, ERR_BACKUP_INVALID where they are not such rows
 */
export async function loadDatabase(
  where: Where,
  schema: DumpedSchema,
  work: (loader: Loader) => Promise<void>,
): Promise<void> {
  requireKnown(schema.migrations);
  await asOwner(where, async (client, own) => {
    await requireEmpty(client, schema);
    await migrate(client, own, schema.migrations.length);
    const tables = new Map(schema.tables.map((table) => [table.name, table]));
    const known = await tablesOf(client);
    const differs = known.find((one) => !sameTable(one, tables.get(one.name)));
    if (differs !== undefined || known.length !== tables.size) {
      throw invalid(`its tables are not those of its migrations (${differs?.name ?? "a name"})`);
    }
    await client.query("begin");
    try {
      await client.query(SPELLING);
      await client.query("set local role sovereign_owner");
      await work({ load: (table, rows) => loadRows(client, tables.get(table), rows) });
      await client.query("commit");
    } catch (error) {
      await client.query("rollback");
      throw error;
    }
  });
}

async function loadRows(
  client: pg.Client,
  table: DumpedTable | undefined,
  rows: readonly string[],
): Promise<void> {
  if (table === undefined) throw invalid("it has rows of a table that it does not name");
  const columns = table.columns.map(identifier).join(", ");
  const name = `sovereign.${identifier(table.name)}`;
  try {
    await client.query(
      `insert into ${name} (${columns}) select ${columns} from json_populate_recordset(null::${name}, $1::json)`,
      [`[${rows.join(",")}]`],
    );
  } catch (cause) {
    // SQLSTATE 22 and 23: what was given is no such row, or there twice.
    if (!/^2[23]/.test(codeOf(cause))) throw cause;
    throw invalid(`rows of ${table.name} are not such rows (SQLSTATE ${codeOf(cause)})`, cause);
  }
}

/** A schema without a row may be what a restore left that was killed. */
async function requireEmpty(client: pg.Client, { migrations }: DumpedSchema): Promise<void> {
  const made = await client.query<{ made: boolean }>(
    "select to_regnamespace('sovereign') is not null or to_regclass('public.sovereign_migrations') is not null as made",
  );
  if (made.rows[0]?.made !== true) return;
  const applied = await readApplied(client);
  if (applied.length > migrations.length) throw notEmpty("the schema of a newer version");
  await client.query("begin read only");
  await client.query("set local role sovereign_owner");
  for (const { name } of await tablesOf(client)) {
    const found = await client.query(`select from sovereign.${identifier(name)} limit 1`);
    if (found.rows.length > 0) throw notEmpty(`rows in sovereign.${name}`);
  }
  await client.query("commit");
}

function notEmpty(found: string): SovereignError {
  const text = `Expected an empty database to restore into, found ${found}. Nothing was changed. Make a new database, and name it by DATABASE_URL.`;
  return new SovereignError("ERR_RESTORE_REFUSED", text, { found });
}

function invalid(why: string, cause?: unknown): SovereignError {
  const text = `The backup's database cannot be restored: ${why}. Nothing was restored.`;
  return new SovereignError("ERR_BACKUP_INVALID", text, {}, cause);
}

function sameTable(one: DumpedTable, other: DumpedTable | undefined): boolean {
  return one.columns.join() === other?.columns.join();
}

async function tablesOf(client: pg.Client): Promise<DumpedTable[]> {
  const found = await client.query<{ name: string; columns: string[] }>(
    `select c.relname::text as name,
       array(select a.attname::text from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
         order by a.attnum) as columns
     from pg_class c where c.relnamespace = 'sovereign'::regnamespace and c.relkind = 'r' order by 1`,
  );
  return found.rows;
}

/** A table without a key has no order. */
async function keyOf(client: pg.Client, table: string): Promise<string> {
  const found = await client.query<{ name: string }>(
    `select a.attname::text as name from pg_index i
       cross join lateral unnest(i.indkey) with ordinality as k (attnum, place)
       join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indisprimary and i.indrelid = pg_catalog.to_regclass($1) order by k.place`,
    [`sovereign.${identifier(table)}`],
  );
  const names = found.rows.map(({ name }) => identifier(name));
  return names.length === 0 ? "" : ` order by ${names.join(", ")}`;
}

function identifier(name: string): string {
  return pg.escapeIdentifier(name);
}

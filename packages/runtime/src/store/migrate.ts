import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SovereignError } from "@sovereign/core";
import type pg from "pg";

/** Any number, but always the same: it names the lock under which migrations run. */
const LOCK = 5_306_813;

interface Migration {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

/**
 * Bring the schema up to date: ordered SQL files, each once, all in one transaction, one process
 * at a time.
 *
 * @throws ERR_MIGRATION_CHANGED when a file that was applied is no longer the same, or the
 *   database is newer than this program
 */
export async function migrate(client: pg.ClientBase): Promise<void> {
  const migrations = readMigrations();
  await client.query("begin");
  try {
    await client.query("select pg_advisory_xact_lock($1)", [LOCK]);
    await client.query(ROLES);
    await client.query(
      "create table if not exists public.sovereign_migrations (name text primary key, checksum text not null, applied_at timestamptz not null default now())",
    );
    const applied = await client.query<{ name: string; checksum: string }>(
      "select name, checksum from public.sovereign_migrations order by name",
    );
    checkApplied(applied.rows, migrations);
    for (const migration of migrations.slice(applied.rows.length)) {
      await client.query(migration.sql);
      await client.query(
        "insert into public.sovereign_migrations (name, checksum) values ($1, $2)",
        [migration.name, migration.checksum],
      );
    }
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

/**
 * The owner of the tables can not log in; the application role owns nothing. Who may not make
 * roles finds them made, and is a member of both.
 */
const ROLES = `do $$ begin
  if not exists (select from pg_roles where rolname = 'sovereign_owner') then
    create role sovereign_owner nologin;
  end if;
  if not exists (select from pg_roles where rolname = 'sovereign_app') then
    create role sovereign_app login;
  end if;
  if not (pg_has_role('sovereign_owner', 'usage') and pg_has_role('sovereign_app', 'usage')) then
    execute format('grant sovereign_owner, sovereign_app to %I', current_user);
  end if;
end $$`;

function readMigrations(): Migration[] {
  const folder = new URL("./migrations/", import.meta.url);
  return readdirSync(fileURLToPath(folder))
    .filter((name) => name.endsWith(".sql"))
    .sort()
    .map((name) => {
      const sql = readFileSync(new URL(name, folder), "utf8");
      return { name, sql, checksum: createHash("sha256").update(sql).digest("hex") };
    });
}

function checkApplied(
  applied: readonly { name: string; checksum: string }[],
  migrations: readonly Migration[],
): void {
  for (const [index, row] of applied.entries()) {
    const known = migrations[index];
    if (known?.name === row.name && known.checksum === row.checksum) continue;
    throw new SovereignError(
      "ERR_MIGRATION_CHANGED",
      `The database has migration ${row.name}, which this version does not know in this form. Use the version that made it, or a newer one.`,
      { name: row.name },
    );
  }
}

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SovereignError } from "@sovereign/core";
import type pg from "pg";
import { systemEntropy } from "../system/index.ts";
import type { AppliedMigration } from "./applied-migration.ts";

/** Any number, but always the same: it names the lock under which the first migration runs. */
const LOCK = 5_306_813;
/** A reader that stays in its transaction keeps a change of the schema waiting: not for ever. */
const LOCK_MS = 20_000;

interface Migration extends AppliedMigration {
  readonly sql: string;
}

/**
 * Bring the schema up to date: ordered SQL files, each once, all in one transaction, one process
 * at a time. Where it is up to date, nothing is locked, so nobody's lock keeps a process from opening.
 *
 * @param own whether the server is ours alone: then what its catalog tells and lets do is cut down, too
 * @param count how many of the files; all of them unless a backup had fewer
 * @throws ERR_MIGRATION_CHANGED when a file that was applied is no longer the same, or the
 *   database is newer than this program
 */
export async function migrate(
  client: pg.ClientBase,
  own: boolean,
  count = Number.POSITIVE_INFINITY,
): Promise<void> {
  const migrations = readMigrations().slice(0, count);
  await client.query("begin");
  try {
    // Whoever may make objects in `public` must not decide what our own names mean.
    await client.query("set local search_path = pg_catalog, pg_temp");
    await client.query(`set local lock_timeout = ${LOCK_MS}`);
    if (!(await isMade(client))) await makeTable(client);
    await client.query(ROLES);
    if (own) await client.query(OWN_ROLES);
    let applied = await readApplied(client);
    checkApplied(applied, migrations);
    if (applied.length < migrations.length) {
      // The application role has no right to this table, so it cannot hold this lock.
      await client.query("lock table public.sovereign_migrations in exclusive mode");
      applied = await readApplied(client);
      checkApplied(applied, migrations);
      await apply(client, migrations.slice(applied.length));
      if (own) await client.query(HARDEN);
    }
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

async function apply(client: pg.ClientBase, migrations: readonly Migration[]): Promise<void> {
  for (const { name, sql, checksum } of migrations) {
    await client.query(sql);
    await client.query("insert into public.sovereign_migrations (name, checksum) values ($1, $2)", [
      name,
      checksum,
    ]);
  }
}

async function isMade(client: pg.ClientBase): Promise<boolean> {
  const found = await client.query<{ made: boolean }>(
    "select pg_catalog.to_regclass('public.sovereign_migrations') is not null as made",
  );
  return found.rows[0]?.made === true;
}

/** Before this table there is no application role, which could hold the advisory lock. */
async function makeTable(client: pg.ClientBase): Promise<void> {
  await client.query("select pg_catalog.pg_advisory_xact_lock($1)", [LOCK]);
  await client.query(
    "create table if not exists public.sovereign_migrations (name text primary key, checksum text not null, applied_at timestamptz not null default now())",
  );
}

export async function readApplied(client: pg.ClientBase): Promise<AppliedMigration[]> {
  const found = await client.query<AppliedMigration>(
    "select name, checksum from public.sovereign_migrations order by name",
  );
  return found.rows;
}

/**
 * The secret from which every claim is derived: in the database, where its owner alone reads it. Made by
 * whoever opens the database first.
 */
export async function claimSecretOf(client: pg.ClientBase): Promise<Uint8Array> {
  const read = async (): Promise<Uint8Array | undefined> =>
    (await client.query<{ secret: Uint8Array }>("select secret from sovereign.claim_secret"))
      .rows[0]?.secret;
  const known = await read();
  if (known !== undefined) return known;
  await client.query(
    "insert into sovereign.claim_secret (secret) values ($1) on conflict do nothing",
    [Buffer.from(systemEntropy.bytes(32))],
  );
  const made = await read();
  if (made === undefined) throw new Error("the secret that was made is not there");
  return made;
}

/**
 * What PostgreSQL shows and lets do to every role, and nobody needs here: numbers about all tenants' rows,
 * other sessions, temporary and large objects. Only a superuser can take it away; where the server is
 * somebody else's, docs/spec/ledger.md says what to run.
 */
const HARDEN = `do $$
declare one record;
begin
  execute pg_catalog.format('revoke temporary on database %I from public', pg_catalog.current_database());
  revoke create on schema public from public;
  for one in
    select p.oid::regprocedure as signature from pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and (
      p.proname ~ '^(pg_stat_get_|pg_advisory_|pg_try_advisory_|lo_|lowrite$|loread$)'
      or p.proname in ('pg_terminate_backend', 'pg_cancel_backend', 'pg_relation_size',
        'pg_table_size', 'pg_indexes_size', 'pg_total_relation_size', 'pg_database_size',
        'pg_lock_status', 'pg_relation_filenode', 'pg_export_snapshot', 'query_to_xml_and_xmlschema'))
  loop
    execute pg_catalog.format('revoke execute on function %s from public', one.signature);
  end loop;
  for one in
    select c.oid::regclass as name from pg_class c
    where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'v'
      and c.relname ~ '^(pg_stat_|pg_statio_|pg_stats|pg_locks$|pg_prepared_xacts$)'
  loop
    execute pg_catalog.format('revoke all on %s from public', one.name);
  end loop;
  grant select on pg_locks, pg_stat_activity to sovereign_owner;
  for one in
    select p.oid::regprocedure as signature from pg_proc p
    where p.pronamespace = 'pg_catalog'::regnamespace
      and p.proname in ('pg_terminate_backend', 'pg_lock_status', 'pg_stat_get_activity')
  loop
    execute pg_catalog.format('grant execute on function %s to sovereign_owner', one.signature);
  end loop;
end $$`;

/**
 * The owner of the tables can not log in; the application role owns nothing. Who may not make
 * roles finds them made, and is a member of both.
 */
const ROLES = `do $$ begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'sovereign_owner') then
    create role sovereign_owner nologin;
  end if;
  if not exists (select from pg_catalog.pg_roles where rolname = 'sovereign_app') then
    create role sovereign_app login;
  end if;
  if not (pg_catalog.pg_has_role('sovereign_owner', 'usage') and pg_catalog.pg_has_role('sovereign_app', 'usage')) then
    execute pg_catalog.format('grant sovereign_owner, sovereign_app to %I', current_user);
  end if;
  -- So that it may end a session of the application role that keeps the key log from growing.
  if not pg_catalog.pg_has_role('sovereign_owner', 'sovereign_app', 'member') then
    begin
      grant sovereign_app to sovereign_owner;
    exception when insufficient_privilege then null;
    end;
  end if;
end $$`;

/**
 * On a server that is ours alone, processes log in as a role that is theirs. Programs of tenants log in as
 * the application role, and PostgreSQL lets whoever logs in as a role change its settings and its
 * password, for everybody who does: what one of them left goes.
 */
const OWN_ROLES = `do $$
declare one record;
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'sovereign_process') then
    begin
      create role sovereign_process login in role sovereign_app;
      grant sovereign_process to sovereign_owner;
    exception when unique_violation or duplicate_object then null;
    end;
  end if;
  -- Whoever changes it at this moment keeps no process from opening.
  perform pg_catalog.set_config('lock_timeout', '1s', true);
  begin
    for one in
      select d.datname from pg_catalog.pg_db_role_setting s
      left join pg_catalog.pg_database d on d.oid = s.setdatabase
      where s.setrole = 'sovereign_app'::pg_catalog.regrole
    loop
      if one.datname is null then alter role sovereign_app reset all;
      else execute pg_catalog.format('alter role sovereign_app in database %I reset all', one.datname);
      end if;
    end loop;
    if (select rolpassword is not null from pg_catalog.pg_authid where rolname = 'sovereign_app') then
      alter role sovereign_app password null;
    end if;
  exception when others then null;
  end;
  perform pg_catalog.set_config('lock_timeout', '${LOCK_MS}', true);
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

/** @throws ERR_MIGRATION_CHANGED where this program cannot make the schema that a backup had */
export function requireKnown(applied: readonly AppliedMigration[]): void {
  checkApplied(applied, readMigrations());
}

function checkApplied(
  applied: readonly AppliedMigration[],
  migrations: readonly AppliedMigration[],
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

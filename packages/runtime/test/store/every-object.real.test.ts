import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { beginWith } from "../support/claims.ts";
import { openTenantWorld, runItem, type TenantWorld } from "../support/tenant-world.ts";

/** Nobody keeps a list of these: what a migration adds is held to the same. */
let world: TenantWorld;
let hostile: pg.Client;
beforeAll(async () => {
  world = await openTenantWorld();
  await world.store.commit(runItem("victim"));
  await world.store.commit(runItem("mallory"));
  hostile = await world.hostile("mallory");
});
afterAll(async () => {
  await world.close();
});

async function names(sql: string): Promise<string[]> {
  const found = await world.owner.query<{ name: string }>(sql);
  return found.rows.map(({ name }) => name);
}

const TABLES = `select c.relname as name from pg_class c
  where c.relnamespace = 'sovereign'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')`;

describe("each table of the schema", () => {
  it("belongs to the owner, and is behind row-level security, forced, where anybody may read it", async () => {
    const loose = await names(`${TABLES} and (
      pg_get_userbyid(c.relowner) <> 'sovereign_owner' or c.relkind not in ('r')
      or ((has_table_privilege('sovereign_app', c.oid, 'select')
          or has_any_column_privilege('sovereign_app', c.oid, 'select'))
        and not (c.relrowsecurity and c.relforcerowsecurity)))`);
    expect(loose).toEqual([]);
  });

  it("is written by nobody but functions", async () => {
    const writable = await names(`${TABLES} and (
      has_table_privilege('sovereign_app', c.oid, 'insert, update, delete, truncate, references, trigger')
      or has_any_column_privilege('sovereign_app', c.oid, 'insert, update, references'))`);
    expect(writable).toEqual([]);
  });

  it("shows another tenant's rows to nobody, by a claim or without", async () => {
    const readable = await names(`${TABLES} and exists (select from pg_attribute a
        where a.attrelid = c.oid and a.attname = 'log_id')
      and has_any_column_privilege('sovereign_app', c.oid, 'select')`);
    expect(readable.length).toBeGreaterThan(8);
    for (const table of readable) {
      await hostile.query("begin");
      const none = await hostile.query(`select log_id from sovereign.${table}`);
      expect(none.rows, table).toEqual([]);
      await hostile.query("rollback");
      await beginWith(hostile, world.claims, "tenant/mallory");
      const own = await hostile.query<{ log_id: string }>(`select log_id from sovereign.${table}`);
      expect(
        own.rows.every(({ log_id }) => log_id === "mallory"),
        table,
      ).toBe(true);
      await hostile.query("rollback");
    }
  });

  it("keeps what was written: no trigger, no rule and no policy but ours", async () => {
    const open = await names(`select c.relname || ' ' || p.polname as name
      from pg_policy p join pg_class c on c.oid = p.polrelid
      where c.relnamespace = 'sovereign'::regnamespace
        and not (p.polname = 'owner_rows' and p.polroles = array['sovereign_owner'::regrole::oid])
        and not (p.polcmd = 'r' and p.polroles = array['sovereign_app'::regrole::oid])`);
    expect(open).toEqual([]);
  });
});

describe("each function of the schema", () => {
  const FUNCTIONS = `select p.oid::regprocedure::text as name from pg_proc p
    where p.pronamespace = 'sovereign'::regnamespace`;

  it("belongs to the owner, and is nobody's to call unless it was given", async () => {
    const loose = await names(`${FUNCTIONS} and (pg_get_userbyid(p.proowner) <> 'sovereign_owner'
      or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where a.grantee = 0))`);
    expect(loose).toEqual([]);
  });

  it("looks up names in no schema of a caller's, where it has the owner's rights", async () => {
    const loose = await names(`${FUNCTIONS} and p.prosecdef and not exists (
      select from unnest(p.proconfig) c where c ~ '^search_path=pg_catalog(, sovereign)?, pg_temp$')`);
    expect(loose).toEqual([]);
  });

  it("does nothing for a caller without a claim", async () => {
    const callable = await world.owner.query<{ name: string; args: number }>(
      `select p.proname as name, p.pronargs as args from pg_proc p
       where p.pronamespace = 'sovereign'::regnamespace
         and has_function_privilege('sovereign_app', p.oid, 'execute')
         -- What a claim is made over: each session's own, and no secret.
         and p.proname <> 'challenge'`,
    );
    expect(callable.rows.length).toBeGreaterThan(5);
    for (const { name, args } of callable.rows) {
      const nothing = Array.from({ length: args }, () => "null").join(", ");
      await hostile.query("begin");
      const found = await hostile.query(`select * from sovereign.${name}(${nothing})`).then(
        ({ rows }) => rows.flatMap((row: object): unknown[] => Object.values(row)),
        () => [],
      );
      await hostile.query("rollback");
      const told = found.filter((value) => value !== null && value !== "");
      expect([name, told]).toEqual([name, []]);
    }
  });
});

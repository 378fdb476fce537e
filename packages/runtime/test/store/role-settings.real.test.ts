import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Store } from "../../src/store/index.ts";
import { HOSTILE } from "../support/hostile-tenants.ts";
import {
  openPooledWorld,
  openTenantWorld,
  runItem,
  type TenantWorld,
} from "../support/tenant-world.ts";

/** PostgreSQL lets whoever logs in as a role change what each later session of the role begins with. */
const SETTINGS = [
  "default_transaction_read_only = on",
  "default_transaction_isolation = 'serializable'",
  "default_transaction_deferrable = on",
  "search_path = 'public'",
  "row_security = off",
  "statement_timeout = '1ms'",
  "lock_timeout = '1ms'",
  "idle_in_transaction_session_timeout = '1ms'",
  "idle_session_timeout = '1ms'",
  "transaction_timeout = '1ms'",
  "role = 'none'",
  "local_preload_libraries = 'there-is-none'",
  "client_encoding = 'SQL_ASCII'",
  "bytea_output = 'escape'",
  "DateStyle = 'SQL, DMY'",
  "IntervalStyle = 'sql_standard'",
  "TimeZone = 'Asia/Tokyo'",
  "standard_conforming_strings = off",
  "synchronous_commit = off",
  "plan_cache_mode = force_custom_plan",
  "enable_indexscan = off",
  "work_mem = '64kB'",
  "client_min_messages = debug5",
];

/** @param spoil what a tenant does once the process is there, before most of its connections are made */
async function works(
  world: TenantWorld,
  spoil = (): Promise<unknown> => Promise.resolve(),
): Promise<void> {
  const store = await Store.open(world.options);
  try {
    await spoil();
    const item = runItem("victim");
    expect(await store.commit(item)).toMatchObject({ status: "committed" });
    const reads = Array.from({ length: 6 }, () => store.findRun("victim", item.stream));
    for (const row of await Promise.all(reads)) expect(row).toMatchObject({ name: "of victim" });
    const items = Array.from({ length: 3 }, () => store.commit(runItem("victim")));
    for (const { status } of await Promise.all(items)) expect(status).toBe("committed");
    expect(await store.claimRun("victim", item.stream)).toBe(2);
    expect(await store.streamHead("victim", item.stream)).toMatchObject({ count: 1 });
  } finally {
    await store.close();
  }
}

describe("on the embedded server", () => {
  let world: TenantWorld;
  let hostile: pg.Client;
  beforeAll(async () => {
    world = await openTenantWorld();
    hostile = await world.hostile();
  });
  afterAll(() => world.close());

  it.each(SETTINGS)("no process of ours, old or new, minds %s", async (setting) => {
    for (const place of ["", "in database postgres "]) {
      const spoil = (): Promise<unknown> =>
        hostile.query(`alter role sovereign_app ${place}set ${setting}`);
      await spoil();
      await works(world, spoil);
    }
    await works(world);
    // Other tenants' programs log in as this role.
    const left = await world.owner.query(
      "select setconfig from pg_db_role_setting where setrole = 'sovereign_app'::regrole",
    );
    expect(left.rows).toEqual([]);
  });

  it("what a tenant does with its role takes nothing from others", async () => {
    await hostile.query("alter role sovereign_app password 'mine'");
    for (const sql of [
      "drop owned by sovereign_app cascade",
      "reassign owned by sovereign_app to sovereign_app",
    ]) {
      await hostile.query(sql).catch(() => undefined);
    }
    await works(world);
    const found = await world.owner.query(
      "select rolpassword from pg_authid where rolname = 'sovereign_app'",
    );
    expect(found.rows).toEqual([{ rolpassword: null }]);
    const other = await world.hostile();
    expect((await other.query("select * from sovereign.runs")).rowCount).toBe(0);
  });

  it("who stays in the middle of such a change keeps no process from opening", async () => {
    await hostile.query("alter role sovereign_app set work_mem = '64kB'");
    await hostile.query("begin");
    await hostile.query("alter role sovereign_app set statement_timeout = '1ms'");
    try {
      await works(world);
    } finally {
      await hostile.query("rollback");
    }
    await works(world);
  });
});

describe("on a server by URL, where each tenant has a role of its own", () => {
  let world: TenantWorld;
  beforeAll(async () => {
    world = await openPooledWorld(HOSTILE);
  });
  afterAll(() => world.close());

  it("a tenant changes its own role, and nobody's sessions but its own", async () => {
    const [who] = HOSTILE;
    const hostile = await world.hostile(who);
    for (const role of ["app", "sovereign_app", "sovereign_owner", "login_eve"]) {
      const tried = hostile.query(`alter role ${role} set default_transaction_read_only = on`);
      await expect(tried, role).rejects.toMatchObject({ code: "42501" });
    }
    for (const setting of SETTINGS) await hostile.query(`alter role login_${who} set ${setting}`);
    await works(world);
  });
});

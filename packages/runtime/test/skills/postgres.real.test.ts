import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import type { JsonObject } from "@sovereign/core";
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { ownerConfig, startEmbedded } from "../../src/store/embedded.ts";
import { copyCluster } from "../support/prepared.ts";
import { filesWith } from "../support/secret-search.ts";
import { openSkillRig, type SkillRig } from "../support/skill-rig.ts";

const AT = "2026-11-29T00:00:00.000Z";
const CANARY = "canary-pg-93be17";

let rig: SkillRig;
let folder: string;
let owner: pg.Client;
let door: Server;
let server: string;
let database: string;

/** The embedded server listens on a socket of its own: this is its way from a port. */
beforeAll(async () => {
  rig = await openSkillRig();
  folder = mkdtempSync(join(tmpdir(), "sov-query-"));
  copyCluster(join(folder, "postgres"));
  const config = ownerConfig(await startEmbedded(join(folder, "postgres"))) as pg.ClientConfig;
  owner = new pg.Client(config);
  await owner.connect();
  await owner.query(`create role reader login password '${CANARY}'`);
  // Its password counts, as on any other server.
  const { rows: settings } = await owner.query<{ hba_file: string }>("show hba_file");
  const hba = settings[0]?.hba_file ?? "";
  writeFileSync(hba, `local all reader scram-sha-256\n${readFileSync(hba, "utf8")}`);
  await owner.query("select pg_reload_conf()");
  await owner.query(
    "create table public.orders (id int primary key, total numeric, paid boolean, at timestamptz)",
  );
  await owner.query(
    "insert into public.orders select n, n * 1.5, n % 2 = 0, '2026-01-01' from generate_series(1, 500) n",
  );
  await owner.query("grant select, insert on public.orders to reader");
  database = String(config.database);
  const path = join(String(config.host), `.s.PGSQL.${String(config.port ?? 5432)}`);
  door = createServer((inner) => {
    const outer = connect(path);
    inner.pipe(outer).pipe(inner);
    inner.on("error", () => outer.destroy());
    outer.on("error", () => inner.destroy());
  });
  await new Promise<void>((resolve) => door.listen(0, "127.0.0.1", resolve));
  server = `127.0.0.1:${(door.address() as AddressInfo).port}`;
  await rig.secrets.set({ name: "PG", hosts: [server], value: CANARY }, AT);
  await rig.secrets.set({ name: "WRONG", hosts: [server], value: "another-password" }, AT);
  await rig.secrets.set({ name: "ELSEWHERE", hosts: ["db.example.org:5432"], value: CANARY }, AT);
});
afterAll(async () => {
  door.close();
  await owner.end();
  await rig.close();
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});
afterEach(() => {
  expect(filesWith(rig.folder, CANARY, ["/secrets/"])).toEqual([]);
});

const given = (sql: string, more: JsonObject = {}): JsonObject => ({
  ...{ server, database, user: "reader", password: "${{ secrets.PG }}", tls: "none", sql },
  ...more,
});
const insert = "insert into public.orders (id) values ($1) returning id";

it("gives rows and columns for values, and no more rows than asked for", async () => {
  const sql = "select id, total, paid from public.orders where id > $1 order by id";
  const result = await rig.perform("postgres_query", given(sql, { values: [490], max_rows: 3 }));
  expect(result).toMatchObject({
    output: {
      value: {
        columns: ["id", "total", "paid"],
        rows: [
          [491, "736.5", false],
          [492, "738.0", true],
          [493, "739.5", false],
        ],
        truncated: true,
      },
    },
  });
});

it("reads only, unless the plan says otherwise", async () => {
  expect(await rig.codeOf("postgres_query", given(insert, { values: [1001] }))).toBe(
    "ERR_SKILL_FAILED",
  );
  const writes = given(insert, { values: [1001], read_only: false });
  expect(await rig.perform("postgres_query", writes)).toMatchObject({
    output: { value: { rows: [[1001]] } },
  });
  const { rows } = await owner.query(
    "select count(*)::int as n from public.orders where id = 1001",
  );
  expect(rows).toEqual([{ n: 1 }]);
});

it.each([
  "select 1; select 2",
  "commit; drop table public.orders",
  "select pg_read_file('/etc/passwd')",
  "select * from nothing",
])("is refused by the database: %s", async (sql) => {
  expect(await rig.codeOf("postgres_query", given(sql))).toBe("ERR_SKILL_FAILED");
});

it("is refused with a wrong password", async () => {
  const wrong = given("select 1", { password: "${{ secrets.WRONG }}" });
  expect(await rig.codeOf("postgres_query", wrong)).toBe("ERR_SKILL_FAILED");
});

it("keeps no endless answer, and ends with its time", async () => {
  const large = "select repeat('x', 10000) from generate_series(1, 1000)";
  expect(await rig.codeOf("postgres_query", given(large, { max_rows: 1000 }))).toBe(
    "ERR_SKILL_FAILED",
  );
  const slow = "select pg_sleep(60)";
  const late = await rig.codeOf("postgres_query", given(slow), { timeoutMs: 500 });
  expect(late).toBe("ERR_SKILL_TIMEOUT");
  const write = given(slow, { read_only: false });
  expect(await rig.codeOf("postgres_query", write, { timeoutMs: 500 })).toBe("ERR_OUTCOME_UNKNOWN");
});

it("masks a secret that the database repeats", async () => {
  const said = JSON.stringify(
    await rig
      .perform("postgres_query", given("select $1::text", { values: [CANARY] }))
      .catch(String),
  );
  // The value stands in the step's own input: what the answer adds is masked.
  expect(said).toContain("[secret PG]");
  // Where its words are cut, a part of the secret would be left.
  const sql = "select (repeat('x', 255) || $1)::int";
  const cut = await rig.perform("postgres_query", given(sql, { values: [CANARY] })).catch(String);
  expect(cut).toContain("xx[secr");
  expect(cut).not.toContain(CANARY.slice(0, 4));
});

it("sends its password to its own server alone, and never without TLS to another machine", async () => {
  const other = given("select 1", { password: "${{ secrets.ELSEWHERE }}" });
  expect(await rig.codeOf("postgres_query", other)).toBe("ERR_SECRET_DENIED");
  const far = given("select 1", {
    server: "db.example.org:5432",
    password: "${{ secrets.ELSEWHERE }}",
  });
  expect(await rig.codeOf("postgres_query", far)).toBe("ERR_SECRET_DENIED");
  expect(await rig.codeOf("postgres_query", given("select 1"), { named: false })).toBe(
    "ERR_SKILL_ADDRESS",
  );
});

it("does not take TLS that the server does not speak for none", async () => {
  expect(await rig.codeOf("postgres_query", given("select 1", { tls: "require" }))).toBe(
    "ERR_SKILL_FAILED",
  );
});

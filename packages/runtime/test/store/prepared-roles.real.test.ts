import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Store } from "../../src/store/index.ts";
import { itemFor, newStream } from "../support/entries.ts";
import { type PostgresServer, query, startPostgres } from "../support/postgres-server.ts";

const home = mkdtempSync(join(tmpdir(), "sov-roles-"));
let server: PostgresServer;
beforeAll(async () => {
  mkdirSync(join(home, "server"));
  server = await startPostgres(join(home, "server"));
});
afterAll(async () => {
  await server.stop();
  rmSync(home, { recursive: true, force: true });
});

it("the roles of examples/operate let a role that may make none open and use the store", async () => {
  await query(server.superuser, "create database sovereign");
  const superuser = new URL(server.superuser);
  superuser.pathname = "/sovereign";
  const text = readFileSync(resolve("examples/operate/roles.sql"), "utf8");
  await query(superuser.href, text.replace("REPLACE-ME", "a-password"));
  const url = new URL(superuser);
  [url.username, url.password] = ["sovereign", "a-password"];
  const databaseUrl = url.href;
  const store = await Store.open({
    folder: join(home, "pg"),
    headsFolder: join(home, "heads"),
    databaseUrl,
  });
  const stream = newStream();
  expect(await store.commit(itemFor(stream, "acme"))).toMatchObject({ status: "committed" });
  expect(await store.streamHead("acme", stream)).toMatchObject({ count: 1 });
  await store.close();
  const client = new pg.Client(databaseUrl);
  client.on("error", () => undefined);
  await client.connect();
  await expect(client.query("create role another")).rejects.toThrow(/permission denied/);
  const may = "select has_database_privilege('sovereign_app', 'sovereign', 'temporary') as may";
  expect((await client.query(may)).rows).toEqual([{ may: false }]);
  await client.end();
});

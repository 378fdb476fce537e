import { joinNode } from "../../../src/installation/nodes/membership.ts";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS } from "../../../src/authority/index.ts";
import { exportInstallation, joinInstallation } from "../../../src/home/installation-file.ts";
import { type Installation, openInstallation } from "../../../src/installation/index.ts";
import { openDataFolder } from "../../../src/home/index.ts";
import { type PostgresServer, query, startPostgres } from "../../support/postgres-server.ts";

let folder: string;
let server: PostgresServer;
let databases = 0;
const opened: Installation[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-identity-"));
  server = await startPostgres(openDataFolder(join(folder, "server")).root);
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
});

async function database(): Promise<string> {
  const name = `app_${databases++}`;
  await query(server.superuser, `create database ${name} owner app`);
  return server.url.replace(/app$/, name);
}

async function open(home: string, databaseUrl: string): Promise<Installation> {
  const environment = { PATH: process.env["PATH"] };
  const one = await openInstallation({ home, databaseUrl, passphrase: null, environment });
  opened.push(one);
  return one;
}

function home(): string {
  return openDataFolder(mkdtempSync(join(folder, "home-"))).root;
}

describe("a data folder", () => {
  it("is one node for ever, and says so once, however many open it at once", async () => {
    const url = await database();
    const place = home();
    const several = await Promise.all([open(place, url), open(place, url), open(place, url)]);
    const first = several[0];
    for (const one of several) expect(one.node).toEqual(first.node);
    expect((await open(place, url)).node).toEqual(first.node);
    // Whoever looked at the log before another process of the folder joined.
    const { store, folder, id, clock, node } = first;
    expect(await joinNode(store, folder.root, id, [], clock)).toEqual(node);
    const rows = await query(url, "select stream from sovereign.entries where stream = 'nodes'");
    expect(rows.rowCount).toBe(1);
  });

  it("does not mix with another installation's database, before there are keys or after", async () => {
    const url = await database();
    await open(home(), url);
    await expect(open(home(), url)).rejects.toMatchObject({ code: "ERR_NODE_OTHER_INSTALLATION" });
  });

  it("knows the root key from the file by which it joined, and not from the database", async () => {
    const first = await open(home(), await database());
    await first.keyLog.initialise(first.keystore, INSTALLATION_KEYS);
    const exported = exportInstallation(first.folder.root, first.keyLog);
    const other = home();
    joinInstallation(other, exported);
    // The same installation's name, in a database where nobody signed anything.
    const empty = await database();
    await expect(open(other, empty)).rejects.toMatchObject({
      code: "ERR_NODE_OTHER_INSTALLATION",
    });
    expect(() => {
      joinInstallation(other, exported);
    }).toThrow(expect.objectContaining({ code: "ERR_NODE_EXISTS" }));
  });

  it("refuses a database that does not hold its joining", async () => {
    const place = home();
    const url = await database();
    await shut(await open(place, url));
    await expect(open(place, await database())).rejects.toMatchObject({
      code: "ERR_NODE_UNKNOWN",
    });
  });

  it("that is a copy of another is refused once the two have gone different ways", async () => {
    const url = await database();
    const place = home();
    await work(place, url);
    const copy = home();
    cpSync(place, copy, { recursive: true, filter: (path) => !path.endsWith(".sock") });
    // Each has a sentinel of its own from here on, which writes its own journal.
    await work(copy, url);
    await shut(await open(copy, url));
    await expect(open(place, url)).rejects.toMatchObject({ code: "ERR_NODE_CLONED" });
  });
});

async function work(place: string, url: string): Promise<void> {
  const one = await open(place, url);
  await one.guard();
  await shut(one);
}

async function shut(one: Installation): Promise<void> {
  opened.splice(opened.indexOf(one), 1);
  await one.close();
}

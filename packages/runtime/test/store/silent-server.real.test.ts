import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Store } from "../../src/store/index.ts";
import { CuttableProxy } from "../support/cuttable-proxy.ts";
import { itemFor, newStream } from "../support/entries.ts";
import { type PostgresServer, query, startPostgres } from "../support/postgres-server.ts";
import { SilentServer } from "../support/silent-server.ts";

const home = mkdtempSync(join(tmpdir(), "sov-silent-"));
let server: PostgresServer;
beforeAll(async () => {
  mkdirSync(join(home, "server"));
  server = await startPostgres(join(home, "server"));
});
afterAll(async () => {
  await server.stop();
  rmSync(home, { recursive: true, force: true });
});

/** Longer than the bound, shorter than the longest answer (60 s): who waits for that is seen. */
const BOUND = 50_000;
const UNAVAILABLE = { code: "ERR_STORE_UNAVAILABLE" };

const open = (databaseUrl: string): Promise<Store> =>
  Store.open({ folder: join(home, "pg"), headsFolder: join(home, "heads"), databaseUrl });
const urlOf = (port: number): string => `postgres://app:secret@127.0.0.1:${port}/app`;

// Those that wait for a server which says nothing wait together.
describe("a database that says nothing", () => {
  it.concurrent.for([{ welcomes: false }, { welcomes: true }])(
    "is given up when it is opened: $welcomes",
    { timeout: BOUND },
    async (how) => {
      const silent = await SilentServer.start(how);
      try {
        const opened = open(`${urlOf(silent.port)}?connect_timeout=2`);
        await expect(opened).rejects.toMatchObject(UNAVAILABLE);
        await expect(opened).rejects.toThrow(/127\.0\.0\.1:\d+ does not answer.*DATABASE_URL/);
        await expect(opened).rejects.not.toThrow(/secret/);
      } finally {
        await silent.close();
      }
    },
  );

  it.concurrent.for([{ welcomes: false }, { welcomes: true }])(
    "ends a command, with what to do: $welcomes",
    { timeout: BOUND },
    async (how) => {
      const silent = await SilentServer.start(how);
      const program = resolve("packages/runtime/src/main/cli.ts");
      const command = spawn(process.execPath, [program, "keys", "list"], {
        env: {
          PATH: process.env["PATH"],
          SOVEREIGN_HOME: join(home, "data"),
          DATABASE_URL: urlOf(silent.port),
        },
        stdio: ["ignore", "ignore", "pipe"],
      });
      try {
        let said = "";
        command.stderr.on("data", (chunk) => (said += String(chunk)));
        // Its process ends, too: nothing that is half open keeps it.
        const code = await new Promise((ended) => command.on("close", ended));
        expect({ code, said }).toMatchObject({
          code: 1,
          said: expect.stringMatching(/try again.*ERR_STORE_UNAVAILABLE/) as string,
        });
      } finally {
        command.kill("SIGKILL");
        await silent.close();
      }
    },
  );

  it("is given up amid reading and writing, and leaves no connection", {
    timeout: BOUND,
  }, async () => {
    const proxy = await CuttableProxy.start(server.port);
    const url = `${server.url.replace(String(server.port), String(proxy.port))}?connect_timeout=4`;
    const store = await open(url);
    await store.commit(itemFor(newStream(), "silent"));
    proxy.cut("silent");
    await expect(
      store.listRuns("silent", { limit: 1, status: null, kind: null }),
    ).rejects.toMatchObject(UNAVAILABLE);
    await expect(store.commit(itemFor(newStream(), "silent"))).rejects.toMatchObject(UNAVAILABLE);
    await store.close();
    proxy.heal();
    await proxy.close();
  });

  it("is not one that takes long", { timeout: BOUND }, async () => {
    const store = await open(`${server.url}?connect_timeout=6`);
    const stream = newStream();
    await store.commit(itemFor(stream, "slow"));
    const lock = query(
      server.superuser.replace(/postgres$/, "app"),
      "begin; lock table sovereign.entries in access exclusive mode; select pg_sleep(8); commit",
    );
    await expect.poll(() => locked(), { timeout: 20_000 }).toBe(true);
    expect(await store.streamHead("slow", stream)).toMatchObject({ count: 1 });
    await lock;
    await store.close();
  });

  it.for(["0", "", "-1", "301", "1.5", "soon"])("refuses connect_timeout=%s", async (value) => {
    const opened = open(`${urlOf(1)}?connect_timeout=${value}`);
    await expect(opened).rejects.toMatchObject({ code: "ERR_DATABASE_URL" });
  });
});

async function locked(): Promise<boolean> {
  const url = server.superuser.replace(/postgres$/, "app");
  const found = await query(url, "select from pg_locks where mode = 'AccessExclusiveLock'");
  return found.rowCount !== 0;
}

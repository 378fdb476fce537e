import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint } from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EMPTY_STREAM, StreamWriter } from "../../src/ledger/index.ts";
import { Store } from "../../src/store/index.ts";
import { fieldsOf, itemFor, newStream } from "../support/entries.ts";
import { testSigner } from "../support/keys.ts";
import {
  PASSWORD,
  type PostgresServer,
  query,
  startPooler,
  startPostgres,
} from "../support/postgres-server.ts";

const home = mkdtempSync(join(tmpdir(), "sov-url-"));
let server: PostgresServer;
beforeAll(async () => {
  mkdirSync(join(home, "server"));
  server = await startPostgres(join(home, "server"));
});
afterAll(async () => {
  await server.stop();
  rmSync(home, { recursive: true, force: true });
});

const open = (databaseUrl: string): Promise<Store> =>
  Store.open({ folder: join(home, "pg"), headsFolder: join(home, "heads"), databaseUrl });

/** Streams side by side, one refusal among them, a signed head, and everything read back. */
async function cycle(store: Store, log: string): Promise<void> {
  const streams = Array.from({ length: 12 }, newStream);
  await Promise.all(
    streams.map(async (stream) => {
      const writer = new StreamWriter(store, log, stream, EMPTY_STREAM);
      for (let count = 0; count < 10; count++) {
        const verdict = await writer.append(fieldsOf(stream, `entry ${count}`));
        expect(verdict).toMatchObject({ status: "committed" });
      }
    }),
  );
  expect(await store.commit(itemFor(streams[0]!, log))).toMatchObject({
    reason: "stream_conflict",
  });
  const { note, size } = await store.sealCheckpoint(log, "origin", testSigner);
  expect(size).toBe(120);
  expect(openCheckpoint(note, "origin", [testSigner.publicKey]).checkpoint.size).toBe(120);
  expect(await store.streamHead(log, streams[3]!)).toMatchObject({ count: 10 });
  let read = 0;
  for await (const { index } of store.readLog(log)) expect(index).toBe(read++);
  expect(read).toBe(120);
  expect(await store.streamHead("another", streams[3]!)).toEqual(EMPTY_STREAM);
}

describe("a server by URL, over TCP with a password", () => {
  it("serves the store to an ordinary role that owns its database", async () => {
    const store = await open(server.url);
    await cycle(store, "direct");
    expect(store.location).toBe(`PostgreSQL at 127.0.0.1:${server.port}/app`);
    await store.close();
    // No embedded server was started beside it.
    expect(readdirSync(home)).not.toContain("pg");
  });

  it("keeps tenants apart for that role too", async () => {
    const store = await open(server.url);
    await store.commit(itemFor(newStream(), "apart"));
    await store.close();
    const seen = await query(
      server.url,
      "set role sovereign_app; select * from sovereign.entries; reset role",
    );
    const rows = (seen as unknown as { rowCount: number }[])[1]?.rowCount;
    expect(rows).toBe(0);
    await expect(query(server.url, "delete from sovereign.entries")).rejects.toThrow(/append-only/);
  });

  it("says what is wrong where it can not be used, and never the password", async () => {
    const wrong = server.url.replace(PASSWORD, "not-the-password");
    const refused = open(wrong);
    await expect(refused).rejects.toMatchObject({ code: "ERR_POSTGRES_START" });
    await expect(refused).rejects.not.toThrow(/not-the-password/);
    const nobody = server.url.replace(String(server.port), "1");
    await expect(open(nobody)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" });
    await expect(open(`${server.url}x`)).rejects.toMatchObject({ code: "ERR_POSTGRES_START" });
  });
});

describe("PgBouncer in transaction mode", () => {
  it("may stand between", async () => {
    const folder = join(home, "pooler");
    mkdirSync(folder);
    const pooler = await startPooler(folder, server);
    try {
      // More users than the pooler keeps connections: they take turns on them.
      const stores = await Promise.all([open(pooler.url), open(pooler.url), open(pooler.url)]);
      await Promise.all(stores.map((store, at) => cycle(store, `pooled-${at}`)));
      await Promise.all(stores.map((store) => store.close()));
    } finally {
      await pooler.stop();
    }
  });
});

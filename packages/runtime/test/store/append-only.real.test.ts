import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEntry, EMPTY_STREAM } from "../../src/ledger/index.ts";
import { ownerConfig, startEmbedded } from "../../src/store/embedded.ts";
import { HeadFile } from "../../src/store/head-file.ts";
import { Store } from "../../src/store/index.ts";
import { beginWith, claimsBy } from "../support/claims.ts";
import { newSigner } from "../support/keys.ts";

const home = mkdtempSync(join(tmpdir(), "sov-append-"));
const options = { folder: join(home, "pg"), headsFolder: join(home, "heads"), databaseUrl: null };
const stream = `run_${"q".repeat(20)}`;
let store: Store;
let owner: pg.Client;
let application: pg.Client;

beforeAll(async () => {
  store = await Store.open(options);
  const fields = {
    stream,
    tenantId: "acme",
    runId: stream,
    timestamp: "2026-01-01T00:00:00.000Z",
    eventType: "test.noted",
    severity: "INFO",
    data: {},
  } as const;
  const { bytes, hash } = createEntry(EMPTY_STREAM, fields);
  const nonces = [{ nonce: "cd".repeat(16), expiresAt: fields.timestamp }];
  const envelopes = [{ digest: "e".repeat(64), bytes: Buffer.from("{}") }];
  await store.commit({
    log: "acme",
    stream,
    expectedHead: EMPTY_STREAM,
    entries: [{ bytes, hash }],
    nonces,
    envelopes,
  });
  await store.sealCheckpoint("acme", "origin", newSigner());
  const config = ownerConfig(await startEmbedded(options.folder));
  owner = new pg.Client(config);
  application = new pg.Client({ ...config, user: "sovereign_app" });
  await owner.connect();
  await application.connect();
});
afterAll(async () => {
  await owner.end();
  await application.end();
  await store.close();
  rmSync(home, { recursive: true, force: true });
});

const TABLES = ["logs", "entries", "envelopes", "nonces", "checkpoints"];
const CHANGES = TABLES.flatMap((table) => [
  [table, `update sovereign.${table} set log_id = 'x'`],
  [table, `delete from sovereign.${table}`],
  [table, `truncate sovereign.${table} cascade`],
]);

describe("evidence is append-only", () => {
  it.each(CHANGES)("for the application, by privilege: %s: %s", async (_, sql) => {
    await expect(application.query(sql)).rejects.toMatchObject({ code: "42501" });
  });

  it.each(CHANGES)("for the owner, by trigger: %s: %s", async (_, sql) => {
    await expect(owner.query(sql)).rejects.toThrow(/evidence is append-only/);
  });

  it.each(["runs", "steps", "traces", "trace_steps", "kv"])(
    "and %s is written by functions alone",
    async (table) => {
      const sql = `insert into sovereign.${table} default values`;
      await expect(application.query(sql)).rejects.toMatchObject({ code: "42501" });
      await expect(application.query(`delete from sovereign.${table}`)).rejects.toMatchObject({
        code: "42501",
      });
    },
  );
});

describe("row-level security", () => {
  it("shows nothing without a claim, and one tenant's rows with it", async () => {
    const claims = await claimsBy(owner);
    const count = async (name: string | null): Promise<number> => {
      if (name === null) await application.query("begin");
      else await beginWith(application, claims, name);
      try {
        return (await application.query("select * from sovereign.entries")).rowCount ?? -1;
      } finally {
        await application.query("rollback");
      }
    };
    expect(await count(null)).toBe(0);
    await application.query("select set_config('sovereign.tenant', 'acme', false)");
    expect(await count(null)).toBe(0);
    expect(await count("tenant/globex")).toBe(0);
    expect(await count("tenant/acme")).toBe(1);
    expect(await count(null)).toBe(0);
  });
});

describe("a database that was rolled back", () => {
  it("is noticed before anything is signed", async () => {
    const { writeFileSync } = await import("node:fs");
    const file = new HeadFile(options.headsFolder, "acme");
    const head = file.read() ?? { size: 0, root: "" };
    file.write({ ...head, size: head.size + 1 });
    await expect(store.sealCheckpoint("acme", "origin", newSigner())).rejects.toMatchObject({
      code: "ERR_LEDGER_ROLLED_BACK",
    });
    rmSync(file.path);
    file.write({ ...head, root: "0".repeat(64) });
    await expect(store.sealCheckpoint("acme", "origin", newSigner())).rejects.toMatchObject({
      code: "ERR_LEDGER_ROLLED_BACK",
    });
    writeFileSync(file.path, "{");
    await expect(store.sealCheckpoint("acme", "origin", newSigner())).rejects.toMatchObject({
      code: "ERR_LEDGER_ROLLED_BACK",
    });
  });

  it("refuses a schema that it does not know", async () => {
    await owner.query("update public.sovereign_migrations set checksum = 'other'");
    await expect(Store.open(options)).rejects.toMatchObject({ code: "ERR_MIGRATION_CHANGED" });
  });
});

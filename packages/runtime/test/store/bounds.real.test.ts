import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CommitItem } from "../../src/ledger/index.ts";
import { ownerConfig, startEmbedded, stopEmbedded } from "../../src/store/embedded.ts";
import { Store } from "../../src/store/index.ts";
import { migrate } from "../../src/store/migrate.ts";
import { commitBy } from "../support/claims.ts";
import { itemFor, newStream } from "../support/entries.ts";
import { openTenantWorld, runItem, type TenantWorld } from "../support/tenant-world.ts";

/** What a tenant's own claim may put into the tenant's own rows, which processes of others read. */
let world: TenantWorld;
let hostile: pg.Client;
beforeAll(async () => {
  world = await openTenantWorld();
  await world.store.commit(runItem("mallory"));
  hostile = await world.hostile("mallory");
});
afterAll(() => world.close());

const step = {
  runId: newStream(),
  stepId: "one",
  status: "completed",
  attempt: 1,
  actionDigest: "0".repeat(64),
  output: null,
} as const;
const place = { priority: 0, carriers: { contents: "place", role: "runner" } } as const;
const digest = "ab".repeat(32);

function entryOf(bytes: number): CommitItem {
  const item = itemFor(newStream(), "mallory");
  return { ...item, entries: [{ bytes: Buffer.alloc(bytes, "x"), hash: "" }] };
}

function itemWith(change: object): CommitItem {
  return { ...itemFor(newStream(), "mallory"), ...change };
}

function runWith(change: object): CommitItem {
  const item = runItem("mallory");
  return { ...item, run: { ...item.run!, ...change } };
}

const PATHS = [
  "a/../../policies/victim.yaml",
  "..",
  "run_",
  `${newStream()}/..`,
  `${newStream()}\n`,
];
const HUGE = "x".repeat(100_000);

describe("a row that a tenant writes", () => {
  it.each([
    ...PATHS.flatMap((path): [string, CommitItem][] => [
      [`a run ${path}`, runWith({ runId: path })],
      [`a step of ${path}`, itemWith({ step: { ...step, runId: path } })],
      [`a step ${path}/`, itemWith({ step: { ...step, stepId: `${path}/` } })],
      [`a queued ${path}`, itemWith({ queue: { runId: path, place } })],
      [`a stream ${path}`, { ...itemFor(newStream(), "mallory"), stream: path }],
    ]),
    ["an entry of 65,536 bytes", entryOf(65_536)],
    ["a stream of a repair", { ...entryOf(65_536), stream: "set-aside/entries" }],
    ["a large envelope", itemWith({ envelopes: [{ digest, bytes: Buffer.alloc(1_500_001) }] })],
    [
      "an envelope without a digest",
      itemWith({ envelopes: [{ digest: HUGE, bytes: Buffer.of(1) }] }),
    ],
    ["a large nonce", itemWith({ nonces: [{ nonce: HUGE, expiresAt: "" }] })],
    ["a large plan", runWith({ plan: Buffer.alloc(16 * 1024 * 1024 + 1, "x") })],
    ["a large name", runWith({ name: HUGE })],
    ["a large reason", runWith({ reason: HUGE })],
    ["no status", runWith({ status: HUGE })],
    ["no mode", runWith({ mode: "mine" })],
    ["a large output", itemWith({ step: { ...step, output: Buffer.alloc(16 * 1024 * 1024 + 1) } })],
  ])("is refused: %s", async (_, item) => {
    const tried = commitBy(hostile, world.claims, ["tenant/mallory"], [item], newStream());
    await expect(tried).rejects.toMatchObject({ code: "23514" });
    expect(await world.store.commit(item)).toMatchObject({ status: "refused", reason: "invalid" });
  });

  it("may be as large as a format says", async () => {
    expect(await world.store.commit(entryOf(65_535))).toMatchObject({ status: "committed" });
  });

  it("has a rule for each of its texts, whatever table it is in", async () => {
    const found = await world.owner.query<{ name: string }>(
      `select c.relname || '.' || a.attname as name
       from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
       where c.relnamespace = 'sovereign'::regnamespace and c.relkind = 'r' and not a.attisdropped
         and has_any_column_privilege('sovereign_app', c.oid, 'select') and a.attname <> 'log_id'
         and a.atttypid in ('text'::regtype, 'bytea'::regtype, 'jsonb'::regtype, 'text[]'::regtype)
         and not exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'c'
           and a.attnum = any (k.conkey))`,
    );
    // Whose entries name them has rules for them; an archive's rows are the owner's to write.
    expect(found.rows.map(({ name }) => name).sort()).toEqual([
      "archived_streams.digest",
      "archived_streams.head",
      "content_pieces.digest",
    ]);
  });
});

it("what an earlier version wrote keeps no database from being opened", async () => {
  const home = mkdtempSync(join(tmpdir(), "sov-bounds-"));
  const options = { folder: join(home, "pg"), headsFolder: join(home, "heads"), databaseUrl: null };
  const target = await startEmbedded(options.folder);
  const owner = new pg.Client(ownerConfig(target));
  await owner.connect();
  try {
    await migrate(owner, true, 18);
    await owner.query(
      `insert into sovereign.logs values ('acme');
       insert into sovereign.runs (run_id, log_id, name, mode, status, plan, plan_digest, created_at)
       select run_id, log_id, 'of ' || log_id, 'sovereign', 'running', '', '', created_at
       from (values ('old/run', 'acme', now()), ('run_' || repeat('a', 20), 'mallory', now()),
         ('run_' || repeat('a', 20), 'acme', now() - interval '1 day')) r (run_id, log_id, created_at)`,
    );
    const store = await Store.open(options);
    expect(await store.findRun("acme", "old/run")).toMatchObject({ name: "of acme" });
    // The folder is that of whose the run was first.
    const name = `run_${"a".repeat(20)}`;
    expect(await store.findRun("acme", name)).toMatchObject({ name: "of acme" });
    expect(await store.findRun("mallory", name)).toBeNull();
    const aside = "select log_id, row_was ->> 'name' as name from sovereign.set_aside";
    expect((await owner.query(aside)).rows).toEqual([{ log_id: "mallory", name: "of mallory" }]);
    expect(await store.commit(runItem("acme"))).toMatchObject({ status: "committed" });
    const loose = await owner.query(
      `select c.relname as table, count(*)::int as rules
       from pg_constraint k join pg_class c on c.oid = k.conrelid
       where k.connamespace = 'sovereign'::regnamespace and not k.convalidated group by 1`,
    );
    expect(loose.rows).toEqual([{ table: "runs", rules: 1 }]);
    await store.close();
  } finally {
    await owner.end();
    await stopEmbedded(target, options.folder);
    rmSync(home, { recursive: true, force: true });
  }
});

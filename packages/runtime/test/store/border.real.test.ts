import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { INSTALLATION_LOG, sha256Hex, signCheckpoint } from "@sovereign/core";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createEntry, EMPTY_STREAM } from "../../src/ledger/index.ts";
import { Claims } from "../../src/store/claims.ts";
import { ownerConfig, startEmbedded, stopEmbedded } from "../../src/store/embedded.ts";
import { Store } from "../../src/store/index.ts";
import { beginWith, commitBy } from "../support/claims.ts";
import { fieldsOf, itemFor, keyItem, newStream } from "../support/entries.ts";
import { testSigner } from "../support/keys.ts";
import { openTenantWorld, runItem, type TenantWorld } from "../support/tenant-world.ts";

/** The attacker is a process of `mallory`: it holds that tenant's claims, and sends any SQL. */
const OWN = ["tenant/mallory"];
const MIGRATIONS = new URL("../../src/store/migrations/", import.meta.url);
const DENIED = { code: "42501" };
let world: TenantWorld;
let hostile: pg.Client;
const victimRun = runItem("victim");

beforeAll(async () => {
  world = await openTenantWorld();
  hostile = await world.hostile();
  await world.store.commit(victimRun);
  await world.store.commit(runItem("mallory"));
  await world.store.sealCheckpoint("victim", "origin", testSigner);
});
afterAll(() => world.close());

/** Everything that is not the attacker's, as the owner sees it. */
async function othersRows(): Promise<unknown> {
  const tables = [
    "logs",
    "entries",
    "envelopes",
    "nonces",
    "nodes",
    "checkpoints",
    "runs",
    "steps",
    "traces",
    "trace_steps",
    "kv",
  ];
  const found = await world.owner.query(
    tables
      .map((one) => `select to_jsonb(t) as row from sovereign.${one} t where log_id <> 'mallory'`)
      .join(" union all ") + " order by 1",
  );
  return found.rows;
}

async function inClaim<T>(name: string, work: () => Promise<T>): Promise<T> {
  await beginWith(hostile, world.claims, name);
  try {
    const value = await work();
    await hostile.query("commit");
    return value;
  } catch (error) {
    await hostile.query("rollback");
    throw error;
  }
}

describe("a tenant's connection, with raw SQL", () => {
  it("reads nothing without a claim, and only its own rows with one", async () => {
    const tables = [
      "logs",
      "entries",
      "envelopes",
      "nonces",
      "nodes",
      "checkpoints",
      "runs",
      "steps",
    ];
    for (const table of tables) {
      expect((await hostile.query(`select * from sovereign.${table}`)).rowCount).toBe(0);
      const foreign = await inClaim("tenant/mallory", () =>
        hostile.query(`select * from sovereign.${table} where log_id <> 'mallory'`),
      );
      expect(foreign.rowCount).toBe(0);
    }
    for (const table of [
      "claim_secret",
      "claim_keys",
      "claim_generations",
      "key_gate",
      "abandoned",
    ]) {
      await expect(hostile.query(`select * from sovereign.${table}`)).rejects.toMatchObject(DENIED);
    }
  });

  it("reads its own rows with the secret that is handed out, by the specification alone", async () => {
    const { secret, claim, role } = await world.store.tenantClaim("mallory", 0);
    expect({ claim, role }).toEqual({ claim: "tenant/mallory", role: "sovereign_app" });
    const rowsOf = async (name: string): Promise<number | null> => {
      await hostile.query("begin");
      try {
        const found = await hostile.query<{ challenge: string }>("select sovereign.challenge()");
        const mac = createHmac("sha256", Buffer.from(secret, "hex"))
          .update(`sovereign.transaction/${found.rows[0]?.challenge ?? ""}`)
          .digest("hex");
        await hostile.query("select set_config('sovereign.claim', $1, true)", [`${mac}${name}`]);
        return (await hostile.query("select * from sovereign.runs")).rowCount;
      } finally {
        await hostile.query("rollback");
      }
    };
    expect(await rowsOf("tenant/mallory")).toBe(1);
    for (const other of ["tenant/victim", "installation/read"]) {
      await expect(rowsOf(other)).rejects.toMatchObject(DENIED);
    }
  });

  it("cannot make another's claim, nor use its own in another transaction or name", async () => {
    const guess = new Claims(randomBytes(32));
    const attempts = [
      (challenge: string) => guess.forTransaction("tenant/victim", challenge),
      (challenge: string) => {
        const own = world.claims.forTransaction("tenant/mallory", challenge);
        return `${own.slice(0, 64)}tenant/victim`;
      },
      () => world.claims.forTransaction("tenant/victim", "1.1"),
      () => "tenant/victim",
      () => `${"0".repeat(64)}tenant/victim`,
      (challenge: string) => world.claims.forTransaction("tenant/installation", challenge),
    ];
    for (const make of attempts) {
      await hostile.query("begin");
      const found = await hostile.query<{ challenge: string }>("select sovereign.challenge()");
      const setting = make(found.rows[0]?.challenge ?? "");
      await hostile.query("select set_config('sovereign.claim', $1, false)", [setting]);
      await expect(hostile.query("select * from sovereign.runs")).rejects.toMatchObject(DENIED);
      await hostile.query("rollback");
    }
    await hostile.query("reset all");
  });

  it("writes into no log but its own, whatever it names", async () => {
    const before = await othersRows();
    const into = itemFor(newStream(), "victim");
    const own = itemFor(newStream(), "mallory");
    const tries: [readonly string[], readonly (typeof into)[]][] = [
      [OWN, [into]],
      [[], [into]],
      [OWN, [own, into]],
      [
        ["tenant/mallory", "tenant/mallory"],
        [own, into],
      ],
      [OWN, [keyItem()]],
      [["tenant/installation"], [keyItem()]],
      [["installation/read"], [keyItem()]],
      [["installation/read"], [{ ...itemFor("read", INSTALLATION_LOG) }]],
    ];
    for (const [names, items] of tries) {
      const tried = commitBy(hostile, world.claims, names, items);
      await expect(tried, names.join()).rejects.toMatchObject(DENIED);
    }
    const guess = new Claims(randomBytes(32));
    await expect(commitBy(hostile, guess, ["tenant/victim"], [into])).rejects.toMatchObject(DENIED);
    expect(await othersRows()).toEqual(before);
  });

  it("rewrites no run, takes no fence, burns no nonce and no batch of another's", async () => {
    const before = await othersRows();
    const runId = victimRun.stream;
    const nonces = [{ nonce: "ab".repeat(16), expiresAt: "2026-01-01T00:00:00.000Z" }];
    const forged = { ...runItem("mallory", newStream()), nonces };
    const run = { ...forged.run!, runId, status: "failed" } as const;
    const step = {
      runId,
      stepId: "one",
      status: "completed",
      attempt: 1,
      actionDigest: "0".repeat(64),
      output: null,
    } as const;
    await commitBy(hostile, world.claims, OWN, [{ ...forged, step }]);
    // The folder of a run is found by its name: a name is one tenant's.
    const second = commitBy(hostile, world.claims, OWN, [{ ...runItem("mallory"), run }], "2");
    await expect(second).rejects.toMatchObject({ code: "23505" });
    const stolen = await inClaim("tenant/mallory", () =>
      hostile.query("select sovereign.claim_run($1) as epoch", [runId]),
    );
    expect(stolen.rows).toEqual([{ epoch: null }]);
    expect(await othersRows()).toEqual(before);
    const fence = { runId, epoch: 1 };
    const next = { ...itemFor(newStream(), "victim"), nonces, fence };
    expect(await world.store.commit(next)).toMatchObject({ status: "committed" });
    await inClaim("tenant/mallory", () =>
      hostile.query("select sovereign.abandon_batch('to come')"),
    );
    const later = itemFor(newStream(), "victim");
    const rows = await commitBy(world.owner, world.claims, ["tenant/victim"], [later], "to come");
    expect(rows).toHaveLength(1);
  });

  it("stores no signed head that the entries do not have", async () => {
    const signed = (size: number): string =>
      signCheckpoint({ origin: "origin", size, root: randomBytes(32) }, testSigner);
    for (const size of [0, 1, 2, 999]) {
      const saved = inClaim("tenant/mallory", () =>
        hostile.query("select sovereign.save_checkpoint($1, $2)", [size, signed(size)]),
      );
      await expect(saved).rejects.toMatchObject({ code: "XX001" });
    }
    const open = hostile.query("select sovereign.save_checkpoint(1, $1)", [signed(1)]);
    await expect(open).rejects.toMatchObject(DENIED);
    expect(await world.store.sealCheckpoint("mallory", "origin", testSigner)).toMatchObject({
      size: 2,
    });
  });

  it("finds nothing to call, to make, to become or to count with", async () => {
    const refused = [
      "set role sovereign_owner",
      "set session authorization sovereign_owner",
      "select sovereign.claim_pads('tenant/victim')",
      "select sovereign.writing_log(null)",
      "select sovereign.open_log()",
      "select sovereign.end_gate_holders()",
      "create table public.mine (a int)",
      "create function public.pg_has_role(text, text) returns bool language sql as 'select true'",
      "create temporary table logs (log_id text)",
      "lock table sovereign.key_gate in access share mode",
      "lock table sovereign.entries in row share mode",
      "select 1 from sovereign.logs for key share",
      "select pg_advisory_lock(5306814)",
      "select lo_creat(-1)",
      "select * from pg_stat_user_tables",
      "select pg_stat_get_live_tuples('sovereign.entries'::regclass)",
      "select pg_total_relation_size('sovereign.entries')",
      "select * from pg_stats",
      "select pg_terminate_backend(pid) from (values (1)) v (pid)",
      "copy sovereign.entries from stdin",
      "copy sovereign.runs to program 'cat'",
      "alter role sovereign_app superuser",
      "comment on table sovereign.entries is 'mine'",
    ];
    for (const sql of refused) {
      await hostile.query("begin");
      await expect(hostile.query(sql), sql).rejects.toMatchObject(DENIED);
      await hostile.query("rollback");
    }
  });

  it("is shown no secret by what it can have printed", async () => {
    const secret = (
      await world.owner.query<{ s: string }>(
        "select encode(secret, 'hex') as s from sovereign.claim_secret",
      )
    ).rows[0]!.s;
    const pads = await world.owner.query<{ p: string }>(
      "select encode(inner_pad, 'hex') as p from sovereign.claim_keys union all select encode(outer_pad, 'hex') from sovereign.claim_keys",
    );
    const told: string[] = [];
    const note = (notice: { message: string | undefined; detail: string | undefined }): void => {
      told.push(`${notice.message ?? ""} ${notice.detail ?? ""}`);
    };
    hostile.on("notice", note);
    const settings = ["debug_print_plan", "debug_print_parse", "debug_print_rewritten"];
    await hostile.query("set client_min_messages = debug5");
    await hostile.query("set plan_cache_mode = force_custom_plan");
    for (const setting of settings) await hostile.query(`set ${setting} = on`);
    await inClaim("tenant/mallory", () => hostile.query("select * from sovereign.runs"));
    await commitBy(hostile, world.claims, OWN, [itemFor(newStream(), "mallory")], "printed");
    await beginWith(hostile, new Claims(randomBytes(32)), "tenant/victim");
    await hostile.query("select * from sovereign.runs").catch(() => undefined);
    await hostile.query("rollback");
    await hostile.query("reset all");
    hostile.off("notice", note);
    expect(told.length).toBeGreaterThan(0);
    const all = told.join("\n").replaceAll(/[\s[\]]/g, "");
    // Plans print bytes as signed decimals, one after the other.
    const decimals = (hex: string): string =>
      [...Buffer.from(hex, "hex").subarray(0, 24)].map((byte) => (byte << 24) >> 24).join("");
    for (const hex of [secret, ...pads.rows.map(({ p }) => p)]) {
      expect(all.includes(hex.slice(0, 48))).toBe(false);
      expect(all.includes(decimals(hex))).toBe(false);
    }
  });
});

describe("what a tenant's connection holds", () => {
  it("keeps no other tenant waiting, neither beside it nor in one batch with it", async () => {
    const { store } = world;
    await beginWith(hostile, world.claims, "tenant/mallory");
    await commitBy(hostile, world.claims, OWN, [itemFor(newStream(), "mallory")], "held");
    const own = store.commit(itemFor(newStream(), "mallory"));
    const together = ["victim", "third"].map((log) => store.commit(itemFor(newStream(), log)));
    const ends = await Promise.all(together);
    expect(ends.map(({ status }) => status)).toEqual(["committed", "committed"]);
    // From here on it is known, and nobody waits for it at all.
    for (let round = 0; round < 5; round++) {
      const later = store.commit(itemFor(newStream(), "victim"));
      void store.commit(itemFor(newStream(), "mallory"));
      expect(await later).toMatchObject({ status: "committed" });
    }
    await hostile.query("rollback");
    expect(await own).toMatchObject({ status: "committed" });
  });

  it("keeps no key from being enrolled or revoked, and no process from opening", async () => {
    await beginWith(hostile, world.claims, "tenant/mallory");
    const judged = { ...itemFor(newStream(), "mallory"), keyEpoch: 0 };
    await commitBy(hostile, world.claims, OWN, [judged], "judged");
    const other = await Store.open(world.options);
    expect(await other.commit(keyItem())).toMatchObject({ status: "committed" });
    await other.close();
    await expect(hostile.query("commit")).rejects.toThrow(/terminat|not queryable/);
    hostile = await world.hostile();
    const { rows } = await world.owner.query(
      "select 1 from sovereign.entries where log_id = 'mallory' and stream = $1",
      [judged.stream],
    );
    expect(rows).toHaveLength(0);
  });
});

describe("the installation's log", () => {
  const entry = (stream: string, eventType: string, change: object = {}) => {
    const made = createEntry(EMPTY_STREAM, {
      ...fieldsOf(stream, "of the installation"),
      tenantId: INSTALLATION_LOG,
      runId: null,
      eventType,
      ...change,
    });
    const entries = [{ bytes: made.bytes, hash: made.hash }];
    return { log: INSTALLATION_LOG, stream, expectedHead: EMPTY_STREAM, entries };
  };
  const node = `scram/nod_${"b".repeat(20)}`;

  it("takes what belongs into a stream, and nothing else, whoever sends it", async () => {
    const { store } = world;
    const junk = [
      entry(node, "key.introduced"),
      entry("nodes", "scram.executed"),
      entry(node, "scram.executed", { tenantId: "acme" }),
      entry(node, "scram.executed", { runId: newStream() }),
      { ...entry(node, "scram.executed"), entries: [{ bytes: Buffer.from("{}"), hash: "" }] },
      { ...entry(node, "scram.executed"), entries: [{ bytes: randomBytes(40), hash: "" }] },
      { ...entry(node, "scram.executed"), nonces: [{ nonce: "n", expiresAt: "" }] },
      { ...entry(node, "scram.executed"), envelopes: [{ digest: "e", bytes: Buffer.of(1) }] },
    ];
    for (const item of junk) {
      expect(await store.commit(item)).toMatchObject({ status: "refused", reason: "invalid" });
    }
    for (const item of [entry("junk", "test.noted"), runItem(INSTALLATION_LOG)]) {
      await expect(store.commit(item)).rejects.toMatchObject(DENIED);
    }
    const text = { data: { text: 'with a \u0000 and a \\u0000 " \u2028' } };
    expect(await store.commit(entry(node, "scram.executed", text))).toMatchObject({
      status: "committed",
    });
  });

  it("takes a node's journal from whoever may write that one alone", async () => {
    const another = `scram/nod_${"c".repeat(20)}`;
    const names = [`installation/${another}`];
    const open = beginWith(hostile, world.claims, names[0]!);
    await open;
    await hostile.query("select sovereign.open_log()");
    await hostile.query("commit");
    const taken = await commitBy(
      hostile,
      world.claims,
      names,
      [entry(another, "scram.reset")],
      "1",
    );
    expect(taken[0]?.refusals).toBe(null);
    const joining = commitBy(hostile, world.claims, names, [entry("nodes", "node.joined")], "2");
    await expect(joining).rejects.toMatchObject(DENIED);
  });
});

describe("a database from before the border", () => {
  it("is brought over with what it holds, and is behind the border then", async () => {
    const home = mkdtempSync(join(tmpdir(), "sov-before-"));
    const options = {
      folder: join(home, "pg"),
      headsFolder: join(home, "heads"),
      databaseUrl: null,
    };
    const target = await startEmbedded(options.folder);
    const owner = new pg.Client(ownerConfig(target));
    await owner.connect();
    try {
      await owner.query(
        "create role sovereign_owner nologin; create role sovereign_app login; create table public.sovereign_migrations (name text primary key, checksum text not null, applied_at timestamptz not null default now())",
      );
      for (const name of ["001_ledger.sql", "002_commit.sql"]) {
        const sql = readFileSync(new URL(name, MIGRATIONS), "utf8");
        await owner.query(sql);
        await owner.query("insert into public.sovereign_migrations values ($1, $2)", [
          name,
          sha256Hex(Buffer.from(sql)),
        ]);
      }
      const runId = newStream();
      const before = createEntry(EMPTY_STREAM, fieldsOf(runId, "before"));
      await owner.query(
        "insert into sovereign.logs values ('acme'); insert into sovereign.runs (run_id, log_id, name, mode, status, plan, plan_digest) values ('" +
          runId +
          "', 'acme', 'old', 'sovereign', 'running', '', '')",
      );
      await owner.query("insert into sovereign.entries values ('acme', 0, $1, 0, $2, $3)", [
        runId,
        Buffer.from(before.hash, "hex"),
        before.bytes,
      ]);
      const store = await Store.open(options);
      expect(await store.findRun("acme", runId)).toMatchObject({ name: "old" });
      expect(await store.streamHead("acme", runId)).toEqual(before.head);
      const next = createEntry(before.head, fieldsOf(runId, "after"));
      const item = { log: "acme", stream: runId, expectedHead: before.head };
      const entries = [{ bytes: next.bytes, hash: next.hash }];
      expect(await store.commit({ ...item, entries })).toEqual({
        status: "committed",
        firstIndex: 1,
      });
      expect(await store.claimRun("acme", runId)).toBe(2);
      await store.close();
    } finally {
      await owner.end();
      await stopEmbedded(target, options.folder);
      rmSync(home, { recursive: true, force: true });
    }
  });
});

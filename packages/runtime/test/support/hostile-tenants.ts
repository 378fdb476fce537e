import { randomBytes } from "node:crypto";
import { INSTALLATION_LOG, signCheckpoint } from "@sovereign/core";
import fc from "fast-check";
import type pg from "pg";
import type { CommitItem } from "../../src/ledger/index.ts";
import { Claims } from "../../src/store/claims.ts";
import { beginWith, commitBy } from "./claims.ts";
import { itemFor, keyItem, newStream } from "./entries.ts";
import { testSigner } from "./keys.ts";
import { openTenantWorld, runItem, type TenantWorld } from "./tenant-world.ts";

/** Two hostile tenants, one that works, and the installation. */
export const HOSTILE = ["mallory", "eve"] as const;
const LOGS = [...HOSTILE, "victim", INSTALLATION_LOG] as const;
const TABLES = ["logs", "entries", "envelopes", "nonces", "nodes", "checkpoints", "runs", "steps"];
const CLAIMS = [
  ...LOGS.map((log) => `tenant/${log}`),
  "installation/read",
  "installation/keys",
  "installation/nodes",
  "installation/checkpoint",
];

interface Operation {
  readonly who: (typeof HOSTILE)[number];
  readonly kind: "read" | "commit" | "call" | "statement";
  readonly log: (typeof LOGS)[number];
  readonly claim: string;
  readonly made: "own" | "guessed" | "renamed";
  readonly pick: number;
}

const operation: fc.Arbitrary<Operation> = fc.record({
  who: fc.constantFrom(...HOSTILE),
  kind: fc.constantFrom("read", "commit", "commit", "call", "call", "statement"),
  log: fc.constantFrom(...LOGS),
  claim: fc.constantFrom(...CLAIMS),
  made: fc.constantFrom("own", "guessed", "renamed"),
  pick: fc.nat(1000),
});

const STATEMENTS = [
  "set role sovereign_owner",
  "set session authorization default",
  "set search_path = pg_temp, public",
  "set row_security = off",
  "set lock_timeout = 0",
  "set statement_timeout = 1",
  "set default_transaction_isolation = 'serializable'",
  "set client_min_messages = debug1",
  "set session_replication_role = replica",
  "set sovereign.claim = 'x'",
  "set sovereign.tenant = 'victim'",
  "select pg_advisory_lock(5306813), pg_advisory_lock(5306814)",
  "select pg_terminate_backend(pid) from pg_stat_activity",
  "select lo_from_bytea(0, 'x')",
  "notify sovereign_nodes",
  "listen sovereign_nodes",
  "create temporary table entries (a int)",
  "create schema mine",
  "prepare p as select * from sovereign.runs",
  "execute p",
  "do $$ begin perform sovereign.claimed(); end $$",
  "copy sovereign.entries to stdout",
  "lock table sovereign.entries in access exclusive mode nowait",
  "select * from sovereign.claim_secret for update",
  "delete from sovereign.entries",
  "truncate sovereign.runs",
  "alter table sovereign.entries disable trigger all",
  "explain analyze select * from sovereign.entries",
];
const NONCES = Array.from({ length: 8 }, (_, at) => `nonce ${at}`);

/**
 * Let both send any SQL, `count` times, and look after each.
 * @returns how many operations of each kind were refused
 */
export async function attack(
  count: number,
  seed: number,
  open: () => Promise<TenantWorld> = openTenantWorld,
): Promise<Record<string, number>> {
  const world = await open();
  try {
    return await new Attack(world).run(count, seed);
  } finally {
    await world.close();
  }
}

class Attack {
  readonly #world: TenantWorld;
  readonly #clients = new Map<string, pg.Client>();
  readonly #refused: Record<string, number> = {};
  readonly #victimRuns: string[] = [];

  constructor(world: TenantWorld) {
    this.#world = world;
  }

  async run(count: number, seed: number): Promise<Record<string, number>> {
    const { store } = this.#world;
    await store.commit(keyItem());
    for (const who of HOSTILE) await store.commit(runItem(who));
    const item = runItem("victim");
    this.#victimRuns.push(item.stream);
    await store.commit(item);
    for (const who of HOSTILE) this.#clients.set(who, await this.#world.hostile(who));
    let done = 0;
    for (const one of fc.sample(operation, { numRuns: count, seed })) {
      const before = await this.#others(one.who);
      await this.#perform(one);
      const after = await this.#others(one.who);
      if (before !== after) throw new Error(`changed by ${JSON.stringify(one)}`);
      if (++done % 20 === 0) await this.#victimWorks();
    }
    return this.#refused;
  }

  async #perform(one: Operation): Promise<void> {
    const client = this.#clients.get(one.who) as pg.Client;
    try {
      if (one.kind === "read") await this.#read(client, one);
      else if (one.kind === "commit") await this.#commit(client, one);
      else if (one.kind === "call") await this.#call(client, one);
      else await client.query(STATEMENTS[one.pick % STATEMENTS.length] ?? "");
    } catch (error) {
      if (error instanceof Crossed) throw error;
      this.#refused[one.kind] = (this.#refused[one.kind] ?? 0) + 1;
    }
    // A session that was spoiled is of no use to an attacker, either.
    await client.query("rollback").catch(() => undefined);
    await client.query("reset all").catch(() => undefined);
  }

  /** What the attacker can make: claims of its own, with other names, or with another secret. */
  #claims({ who, made }: Operation): Claims {
    if (made === "guessed") return new Claims(randomBytes(32));
    const own = this.#world.claims;
    // Only its own secret: whatever the name says, the MAC is made with that.
    return {
      forTransaction: (name: string, challenge: string): string =>
        `${own.forTransaction(`tenant/${who}`, challenge).slice(0, 64)}${name}`,
      forBatch: (names: readonly string[], digest: Uint8Array): Uint8Array[] =>
        own.forBatch(
          names.map(() => `tenant/${who}`),
          digest,
        ),
    } as unknown as Claims;
  }

  async #read(client: pg.Client, one: Operation): Promise<void> {
    if (one.pick % 5 > 0) await beginWith(client, this.#claims(one), one.claim);
    for (const table of TABLES) {
      const found = await client.query<{ log_id: string }>(`select log_id from sovereign.${table}`);
      const foreign = found.rows.find(({ log_id }) => log_id !== one.who);
      if (foreign !== undefined) throw new Crossed(`${one.who} read ${table} of ${foreign.log_id}`);
    }
  }

  async #commit(client: pg.Client, one: Operation): Promise<void> {
    const { who, log, pick } = one;
    const nonces = [{ nonce: NONCES[pick % NONCES.length] ?? "", expiresAt: "" }];
    const runId = this.#victimRuns[pick % this.#victimRuns.length] ?? "";
    const fence = { runId, epoch: 1 };
    const target = log === INSTALLATION_LOG ? keyItem() : runItem(log);
    const items: CommitItem[][] = [
      [target],
      [itemFor(newStream(), who), target],
      [{ ...target, nonces }],
      [{ ...target, fence }],
      [{ ...target, keyEpoch: pick % 3 }],
      [{ ...runItem(who), nonces, run: { ...runItem(who).run!, runId } }],
    ];
    const names = pick % 2 === 0 ? [one.claim] : [`tenant/${who}`, one.claim];
    await commitBy(client, this.#claims(one), names, items[pick % items.length] ?? [], `b${pick}`);
  }

  async #call(client: pg.Client, one: Operation): Promise<void> {
    await beginWith(client, this.#claims(one), one.claim);
    const { pick } = one;
    const size = pick % 7;
    const note = signCheckpoint({ origin: "o", size, root: randomBytes(32) }, testSigner);
    const run = this.#victimRuns[pick % this.#victimRuns.length];
    const calls: [string, unknown[]][] = [
      ["select sovereign.claim_run($1)", [run]],
      ["select sovereign.open_log()", []],
      ["select sovereign.abandon_batch($1)", [`b${pick}`]],
      ["select sovereign.save_checkpoint($1, $2)", [size, note]],
      ["select sovereign.end_gate_holders()", []],
    ];
    const [sql, values] = calls[pick % calls.length] ?? ["", []];
    await client.query(sql, values);
    await client.query("commit");
  }

  /** All rows that are not this tenant's, as one digest. */
  async #others(who: string): Promise<string> {
    const parts = TABLES.map(
      (table) =>
        `select '${table}' || t::text as row from sovereign.${table} t where log_id in ('victim', '${INSTALLATION_LOG}')
           or log_id <> '${who}' and '${table}' in ('runs', 'checkpoints', 'nodes', 'nonces')`,
    );
    const found = await this.#world.owner.query<{ all: string }>(
      `select md5(string_agg(row, ',' order by row)) as all from (${parts.join(" union all ")}) r`,
    );
    return found.rows[0]?.all ?? "";
  }

  /** It uses nonces, a fence and a head as if it were alone. */
  async #victimWorks(): Promise<void> {
    const { store } = this.#world;
    const item = runItem("victim");
    this.#victimRuns.push(item.stream);
    const nonces = [{ nonce: `fresh ${this.#victimRuns.length}`, expiresAt: "" }];
    const verdict = await store.commit({ ...item, nonces });
    if (verdict.status !== "committed")
      throw new Crossed(`the victim was refused: ${verdict.reason}`);
    if ((await store.claimRun("victim", item.stream)) !== 2) throw new Crossed("a fence was taken");
    await store.sealCheckpoint("victim", "origin", testSigner);
  }
}

/** The border was crossed. */
class Crossed extends Error {}

import { INSTALLATION_LOG } from "@sovereign/core";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CommitItem } from "../../src/ledger/index.ts";
import { claimsOf } from "../../src/store/claims.ts";
import { commitParameters } from "../../src/store/commit-sql.ts";
import { beginWith } from "../support/claims.ts";
import { itemFor, keyItem, newStream } from "../support/entries.ts";
import { openTenantWorld, runItem, type TenantWorld } from "../support/tenant-world.ts";

/** What a caller can leave out, or shape otherwise than we do, of each call that has the owner's rights. */
let world: TenantWorld;
let hostile: pg.Client;
const victimRun = runItem("victim");
const ownRun = runItem("mallory");
const HASH = "decode(repeat('ab', 32), 'hex')";
const DIGEST = "repeat('ab', 32)";
const RUNS = `array['${ownRun.stream}', '${victimRun.stream}']`;

/**
 * Each function that has the owner's rights: the claim with which it does something, its arguments, and
 * those that may be null. A new one is to be told of here.
 */
const CALLS: Record<string, { claim: string; args: string[]; mayLack?: number[] }> = {
  commit_batch: { claim: "", args: [] },
  challenge: { claim: "", args: [] },
  claimed: { claim: "", args: [] },
  claimed_log: { claim: "", args: [] },
  end_gate_holders: { claim: "installation/keys", args: [] },
  open_log: { claim: "tenant/mallory", args: [] },
  list_generations: { claim: "installation/read", args: [] },
  token_count: { claim: "installation/tokens", args: [] },
  claim_run: { claim: "tenant/mallory", args: [`'${ownRun.stream}'`] },
  abandon_batch: { claim: "tenant/mallory", args: ["'lost'"] },
  save_checkpoint: { claim: "tenant/mallory", args: ["1", "'note'"] },
  issue_claim: { claim: "owner", args: ["'tenant/mallory'", "1"] },
  kv_put: { claim: "tenant/mallory", args: ["'key'", "'value'"], mayLack: [1] },
  replace_incidents: { claim: "tenant/mallory", args: ["1", `'{"incidents":[],"entries":[]}'`] },
  token_issue: {
    claim: "installation/tokens",
    args: ["'victim'", "'tok_' || repeat('b', 20)", HASH, "'l'", "array['runs']", "'2030-01-01'"],
  },
  token_revoke: { claim: "installation/tokens", args: ["'victim'", "'tok_' || repeat('a', 20)"] },
  token_find: { claim: "installation/tokens", args: [HASH] },
  content_begin: { claim: "tenant/mallory", args: [DIGEST, "1"] },
  content_put: { claim: "tenant/mallory", args: [DIGEST, "0", HASH] },
  claim_queued: {
    claim: "installation/dispatch",
    args: ["'wrk'", "'nod'", "'place'", "array['runner']", "1000"],
    mayLack: [1, 2, 3],
  },
  queued_elsewhere: {
    claim: "installation/dispatch",
    args: ["'nod'", "'place'", "array['runner']"],
    mayLack: [1, 2],
  },
  beat_worker: {
    claim: "installation/dispatch",
    args: ["'wrk'", "array['mallory', 'victim']", RUNS, "1000"],
  },
  return_queued: {
    claim: "installation/dispatch",
    args: ["'wrk'", "'victim'", `'${victimRun.stream}'`, "1000", "'why'"],
    mayLack: [4],
  },
  finish_queued: {
    claim: "installation/dispatch",
    args: ["'wrk'", "'victim'", `'${victimRun.stream}'`],
  },
  record_archive: {
    claim: "owner",
    args: ["'victim'", DIGEST, "0", RUNS, "array[1, 1]", `array[${HASH}, ${HASH}]`],
  },
  take_out: { claim: "owner", args: ["'victim'", "array[0]", `array[${DIGEST}]`, "array[0]"] },
  put_back: {
    claim: "owner",
    args: ["'victim'", "array[0]", `array[${HASH}]`, `array[${DIGEST}]`, `array[${HASH}]`],
  },
};

interface Signature {
  readonly name: string;
  readonly types: string[];
  readonly open: boolean;
}
let signatures: Signature[];

beforeAll(async () => {
  world = await openTenantWorld();
  hostile = await world.hostile();
  const place = { priority: 0, carriers: { contents: "place", role: "runner" } } as const;
  for (const item of [victimRun, ownRun]) {
    await world.store.commit({ ...item, queue: { runId: item.stream, place } });
  }
  await world.owner.query(
    `update sovereign.queue set worker = 'wrk', lease_until = '2030-01-01' where log_id = 'victim';
     insert into sovereign.tokens (log_id, token_id, hash, label, scopes, expires_at)
     values ('victim', 'tok_' || repeat('a', 20), sha256('a'), 'l', array['runs'], '2030-01-01')`,
  );
  signatures = (
    await world.owner.query<Signature>(`select p.proname as name,
      array(select format_type(t, null) from unnest(p.proargtypes) with ordinality u (t, at)
        order by at) as types, has_function_privilege('sovereign_app', p.oid, 'execute') as open
      from pg_proc p where p.pronamespace = 'sovereign'::regnamespace
        and p.prorettype <> 'trigger'::regtype
        and (p.prosecdef or has_function_privilege('sovereign_app', p.oid, 'execute'))`)
  ).rows;
});
afterAll(() => world.close());

/** One digest of all rows, or of those that are not the attacker's. */
async function rowsOf(which: "all" | "others"): Promise<string> {
  const { rows } = await world.owner.query<{ name: string; owned: boolean }>(
    `select c.relname as name, exists (select from pg_attribute a
       where a.attrelid = c.oid and a.attname = 'log_id') as owned
     from pg_class c where c.relnamespace = 'sovereign'::regnamespace and c.relkind = 'r'`,
  );
  const parts = rows.map(
    ({ name, owned }) => `select '${name}' || to_jsonb(t)::text as row from sovereign.${name} t
      where ${which === "all" || !owned ? "true" : "log_id <> 'mallory'"}`,
  );
  const found = await world.owner.query<{ all: string }>(
    `select md5(string_agg(row, ',' order by row)) as all from (${parts.join(" union all ")}) r`,
  );
  return found.rows[0]!.all;
}

/** What else can stand where this does; the first is nothing at all. */
function variationsOf(value: string, type: string): string[] {
  const missing = `null::${type}`;
  if (!type.endsWith("[]")) return [missing];
  const one = `((${value})::${type})`;
  return [
    missing,
    `'{}'::${type}`,
    `array[null]::${type}`,
    `array_append(${one}, null)`,
    `array_prepend(null, ${one})`,
    `(${one} || ${one})`,
    `${one}[2:]`,
    `array[${one}]`,
    `array[${one}, ${one}]`,
    `('[0:' || cardinality(${one}) - 1 || ']=' || ${one}::text)::${type}`,
    `('[-1:' || cardinality(${one}) - 2 || ']=' || ${one}::text)::${type}`,
  ];
}

/** @returns whether it was refused */
async function tried(claim: string, sql: string): Promise<boolean> {
  const client = claim === "owner" ? world.owner : hostile;
  if (claim === "owner") await client.query("begin");
  else await beginWith(client, world.claims, claim);
  try {
    await client.query(sql);
    await client.query("commit");
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(pg.DatabaseError);
    await client.query("rollback");
    return true;
  }
}

describe("each function with the owner's rights", () => {
  it("is known here", () => {
    expect(signatures.map(({ name }) => name).sort()).toEqual(Object.keys(CALLS).sort());
    for (const { name, types } of signatures.filter((one) => one.name !== "commit_batch")) {
      expect(CALLS[name]!.args, name).toHaveLength(types.length);
    }
  });

  it("changes nothing of another's, whatever is missing or misshapen", async () => {
    const before = await rowsOf("others");
    for (const { name, types, open } of signatures.filter((one) => one.name !== "commit_batch")) {
      if (!open) continue;
      for (const [at, type] of types.entries()) {
        for (const value of variationsOf(CALLS[name]!.args[at]!, type)) {
          const args = CALLS[name]!.args.with(at, value).join(", ");
          await tried("tenant/mallory", `select * from sovereign.${name}(${args})`);
          expect(await rowsOf("others"), `${name}(${args})`).toBe(before);
        }
      }
    }
  });

  it("does nothing at all where something is missing, with the claim that it needs", async () => {
    for (const { name, types } of signatures.filter((one) => one.name !== "commit_batch")) {
      const { claim, args: whole, mayLack = [] } = CALLS[name]!;
      for (const [at, type] of types.entries()) {
        if (mayLack.includes(at)) continue;
        const args = whole.with(at, `null::${type}`).join(", ");
        const before = await rowsOf("all");
        await tried(claim, `select * from sovereign.${name}(${args})`);
        expect(await rowsOf("all"), `${name}(${args})`).toBe(before);
      }
    }
  });
});

/** The columns of a call that has all there are, as SQL. */
function columnsOf(items: readonly CommitItem[], types: readonly string[]): string[] {
  return commitParameters("batch", items).map((value, at) => {
    if (value === null) return `null::${types[at]}`;
    if (typeof value === "string") return `$t$${value}$t$::text`;
    return arrayText(value as Buffer, types[at]!);
  });
}

/** A binary array as SQL. */
function arrayText(buffer: Buffer, type: string): string {
  const parts: string[] = [];
  for (let at = 20; at < buffer.length; ) {
    const size = buffer.readInt32BE(at);
    const bytes = buffer.subarray(at + 4, at + 4 + size);
    if (type === "bytea[]") parts.push(`decode('${bytes.toString("hex")}', 'hex')`);
    else if (type === "text[]") parts.push(`'${bytes.toString()}'`);
    else parts.push(String(size === 4 ? bytes.readInt32BE() : bytes.readBigInt64BE()));
    at += 4 + size;
  }
  return `array[${parts.join(", ")}]::${type}`;
}

/** The digest of a call, as the server makes it of the same columns; null where it makes none. */
async function digestOf(columns: readonly string[]): Promise<Buffer | null> {
  const sent = columns
    .slice(0, 22)
    .map((one, at) => (at < 11 ? `array_send(${one})` : `coalesce(array_send(${one}), '\\x00')`));
  const [entryBytes] = sent.splice(10, 1);
  const envelopeBytes = sent.pop();
  const found = await world.owner.query<{ digest: Buffer | null }>(
    `select sha256(sha256(${entryBytes}) || sha256(${envelopeBytes}) || ${sent.join(" || ")}
       || sha256(convert_to(coalesce(${columns[22]}, ''), 'UTF8'))
       || convert_to(${columns[23]}, 'UTF8')) as digest`,
  );
  return found.rows[0]!.digest;
}

const bytesText = (value: Uint8Array): string =>
  `decode('${Buffer.from(value).toString("hex")}', 'hex')`;

describe("a commit", () => {
  const full = (item: CommitItem): CommitItem => ({
    ...item,
    keyEpoch: 0,
    nonces: [{ nonce: newStream(), expiresAt: "" }],
    envelopes: [{ digest: "ab".repeat(32), bytes: Buffer.of(1) }],
  });
  let types: string[];
  beforeAll(() => {
    types = signatures.find(({ name }) => name === "commit_batch")!.types;
  });

  async function commit(columns: readonly string[]): Promise<boolean> {
    return tried("tenant/mallory", `select * from sovereign.commit_batch(${columns.join(", ")})`);
  }

  it("of another's log is refused, whatever is missing, so that no claim can be made", async () => {
    for (const target of [full(runItem("victim")), itemFor("operations", "victim"), keyItem()]) {
      const before = await rowsOf("all");
      const whole = columnsOf([target], types);
      const names = `array['${claimsOf([target])[0]}']::text[]`;
      for (const macs of ["null", "array[null]", "'{}'", `array[${HASH}]`, `array[''::bytea]`]) {
        for (const [at, type] of types.slice(0, 24).entries()) {
          const columns = [...whole.with(at, `null::${type}`), names, `${macs}::bytea[]`];
          expect(await commit(columns), `without ${at}, ${macs}`).toBe(true);
          const nameless = columns.with(24, "array[null]::text[]");
          expect(await commit(nameless), `without ${at}, ${macs}, no name`).toBe(true);
        }
      }
      expect(await rowsOf("all")).toBe(before);
    }
  });

  it("is refused where a column is missing or misshapen, with the claim for just that", async () => {
    const fence = { runId: ownRun.stream, epoch: 1 };
    const one = [full(runItem("mallory")), { ...full(itemFor(newStream(), "mallory")), fence }];
    const shared = [...one, full(runItem("victim"))];
    for (const items of [one, shared]) {
      const whole = columnsOf(items, types);
      const names = claimsOf(items);
      const claimed = async (columns: readonly string[]): Promise<string[]> => {
        const macs = world.claims.forBatch(names, (await digestOf(columns)) ?? Buffer.alloc(0));
        const made = `array[${macs.map(bytesText).join(", ")}]::bytea[]`;
        return [...columns, `array[${names.map((name) => `'${name}'`).join(", ")}]::text[]`, made];
      };
      for (const [at, type] of types.entries()) {
        for (const value of variationsOf((await claimed(whole))[at]!, type)) {
          // That no row is written is well formed.
          if (at === 22) continue;
          const before = await rowsOf("all");
          const columns =
            at < 24 ? await claimed(whole.with(at, value)) : (await claimed(whole)).with(at, value);
          expect(await commit(columns), `column ${at}: ${value}`).toBe(true);
          expect(await rowsOf("all")).toBe(before);
        }
      }
      expect(await commit(await claimed(whole)), "the call itself").toBe(false);
    }
  });

  it("locks no log that none of its items writes to", async () => {
    for (const other of ["victim", INSTALLATION_LOG]) {
      const items = [itemFor(newStream(), "mallory")];
      for (const order of [
        ["mallory", other],
        [other, "mallory"],
      ]) {
        const whole = columnsOf(items, types);
        const columns = whole
          .with(0, `array['${order.join("', '")}']::text[]`)
          .with(6, `array[${1 + order.indexOf("mallory")}]::int[]`);
        const macs = world.claims.forBatch(["tenant/mallory"], (await digestOf(columns))!);
        const claims = ["array['tenant/mallory']", `array[${macs.map(bytesText).join(", ")}]`];
        expect(await commit([...columns, ...claims]), order.join()).toBe(true);
      }
    }
  });
});

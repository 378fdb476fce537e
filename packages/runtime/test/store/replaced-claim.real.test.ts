import { createHmac } from "node:crypto";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { issueTenantClaim } from "../../src/installation/tenant-claim.ts";
import type { Claims } from "../../src/store/claims.ts";
import { Store } from "../../src/store/index.ts";
import { systemClock } from "../../src/system/index.ts";
import { beginWith, commitBy } from "../support/claims.ts";
import { itemFor, newStream } from "../support/entries.ts";
import { openTenantWorld, runItem, type TenantWorld } from "../support/tenant-world.ts";

const DENIED = { code: "42501" };
const READ = "select * from sovereign.runs";
let world: TenantWorld;
let hostile: pg.Client;

beforeAll(async () => {
  world = await openTenantWorld();
  hostile = await world.hostile();
  for (const tenant of ["mallory", "victim"]) await world.store.commit(runItem(tenant));
});
afterAll(() => world.close());

/** Claims with one secret, whatever they are for: what a process of one tenant can make. */
function claimsWith(secret: string): Claims {
  const key = Buffer.from(secret, "hex");
  const mac = (...parts: (string | Uint8Array)[]): Buffer => {
    const made = createHmac("sha256", key);
    for (const part of parts) made.update(part);
    return made.digest();
  };
  return {
    forTransaction: (name: string, challenge: string) =>
      `${mac(`sovereign.transaction/${challenge}`).toString("hex")}${name}`,
    forBatch: (names: readonly string[], digest: Uint8Array) =>
      names.map(() => mac("sovereign.batch/", digest)),
  } as unknown as Claims;
}

async function handOut(tenant: string, replace: boolean): Promise<Claims> {
  return claimsWith((await issueTenantClaim(world.store, systemClock, tenant, replace)).secret);
}

async function inClaim(claims: Claims, tenant: string, sql: string): Promise<number | null> {
  await beginWith(hostile, claims, `tenant/${tenant}`);
  try {
    return (await hostile.query(sql)).rowCount;
  } finally {
    await hostile.query("rollback");
  }
}

const write = (claims: Claims, tenant: string, batch: string): Promise<unknown> =>
  commitBy(hostile, claims, [`tenant/${tenant}`], [itemFor(newStream(), tenant)], batch);

describe("a tenant's claim that is replaced", () => {
  it("refuses the former secret at once, for every read and write, and takes the new one", async () => {
    const former = await handOut("mallory", false);
    expect(await inClaim(former, "mallory", READ)).toBe(1);
    await write(former, "mallory", "before");
    const now = await handOut("mallory", true);
    const calls = [READ, "select sovereign.open_log()", "select sovereign.abandon_batch('x')"];
    for (const sql of calls) {
      await expect(inClaim(former, "mallory", sql)).rejects.toMatchObject(DENIED);
    }
    await expect(write(former, "mallory", "after")).rejects.toMatchObject(DENIED);
    expect(await inClaim(now, "mallory", READ)).toBe(1);
    await write(now, "mallory", "now");
    // Not the generation before the last one either.
    await handOut("mallory", true);
    for (const old of [former, now]) {
      await expect(inClaim(old, "mallory", READ)).rejects.toMatchObject(DENIED);
    }
  });

  it("refuses the former secret in transactions that were begun with it", async () => {
    const former = await handOut("mallory", false);
    await beginWith(hostile, former, "tenant/mallory");
    await hostile.query(READ);
    await handOut("mallory", true);
    await expect(hostile.query(READ)).rejects.toMatchObject(DENIED);
    await hostile.query("rollback");
  });

  it("takes no write of a snapshot from before", async () => {
    const former = await handOut("mallory", false);
    await hostile.query("set default_transaction_isolation = 'repeatable read'");
    await beginWith(hostile, former, "tenant/mallory");
    await hostile.query(READ);
    await handOut("mallory", true);
    await expect(hostile.query("select sovereign.open_log()")).rejects.toMatchObject(DENIED);
    await hostile.query("rollback");
    await hostile.query("reset all");
  });

  it("is not brought back by who opens a log with the former secret meanwhile", async () => {
    const other = await world.hostile();
    const former = await handOut("fresh", false);
    await beginWith(other, former, "tenant/fresh");
    await other.query("select sovereign.open_log()");
    const now = await handOut("fresh", true);
    await other.query("commit").catch(() => undefined);
    await expect(write(former, "fresh", "fresh-1")).rejects.toMatchObject(DENIED);
    await write(now, "fresh", "fresh-2");
  });

  it("is replaced by the owner alone: no tenant replaces another's claim, nor its own", async () => {
    const own = await handOut("mallory", false);
    const victim = await handOut("victim", false);
    const attempts = [
      "select sovereign.issue_claim('tenant/victim', 1)",
      "select sovereign.issue_claim('tenant/mallory', 9)",
      "select * from sovereign.derive_pads('tenant/victim', 0)",
      "select * from sovereign.list_generations()",
      "insert into sovereign.claim_generations values ('tenant/victim', 1)",
      "update sovereign.claim_generations set generation = generation + 1",
      "delete from sovereign.claim_keys where name = 'tenant/victim'",
    ];
    for (const sql of attempts) {
      await expect(hostile.query(sql)).rejects.toMatchObject(DENIED);
      await expect(inClaim(own, "mallory", sql)).rejects.toMatchObject(DENIED);
    }
    expect(await inClaim(victim, "victim", READ)).toBe(1);
  });

  it("keeps no control process from its work, not one that opened the database before", async () => {
    const other = await Store.open(world.options);
    try {
      await other.commit(runItem("victim"));
      await handOut("victim", true);
      for (const store of [world.store, other]) {
        expect(await store.commit(runItem("victim"))).toMatchObject({ status: "committed" });
      }
      await handOut("victim", true);
      expect(await other.claimRun("victim", runItem("victim").stream).catch(() => 0)).toBe(0);
    } finally {
      await other.close();
    }
  });

  it("is in the ledger before it is known, and its secret is not", async () => {
    const { secret, generation } = await issueTenantClaim(world.store, systemClock, "eve", true);
    const found = await world.owner.query<{ text: string }>(
      "select convert_from(bytes, 'UTF8') as text from sovereign.entries where log_id = 'installation' and stream = 'ledger' order by index desc limit 1",
    );
    const text = found.rows[0]?.text ?? "";
    expect(JSON.parse(text)).toMatchObject({
      event_type: "ledger.claim_replaced",
      data: { tenant_id: "eve", generation },
    });
    expect(text).not.toContain(secret);
  });
});

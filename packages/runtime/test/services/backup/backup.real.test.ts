import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { INSTALLATION_LOG, sha256Hex } from "@sovereign/core";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openInstallation } from "../../../src/installation/index.ts";
import { createBackup } from "../../../src/services/backup/create-backup.ts";
import { tarEnd, tarPart, readTar } from "../../../src/services/backup/tar.ts";
import { createServices } from "../../../src/services/index.ts";
import { ownerConfig, startEmbedded, stopEmbedded } from "../../../src/store/embedded.ts";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";
import { startPostgres } from "../../support/postgres-server.ts";
import { everyRow } from "../../support/rows.ts";

const PASSPHRASE = "a good passphrase";
const work = mkdtempSync(join(tmpdir(), "sov-backup-"));
const passphraseFile = join(work, "passphrase");
const file = join(work, "backup.tar");
const trustFile = join(work, "trust.json");
let rig: GoalRig;
let runId: string;
/** Every row of every table, as it was when the backup was made. */
let rows: Record<string, string[]>;

const nothing = (): void => undefined;
const write = (path: string, databaseUrl: string | null = null) =>
  createBackup(rig.installation, {
    databaseUrl,
    version: "test",
    passphrase: PASSPHRASE,
    write: (bytes) => {
      appendFileSync(path, bytes);
    },
    onProgress: nothing,
  });
const servicesIn = (home: string, more: Record<string, string> = {}) =>
  createServices({ PATH: process.env["PATH"], HOME: work, SOVEREIGN_HOME: home, ...more });
const restore = (home: string, from = file, more: Record<string, string> = {}) =>
  servicesIn(home, more).restoreBackup(from, { passphraseFile, trustFile, onProgress: nothing });
const verify = (path: string, how: { passphrase?: boolean; trust?: boolean } = {}) =>
  servicesIn(join(work, "none")).verifyBackup(path, {
    passphraseFile: how.passphrase === true ? passphraseFile : null,
    trustFile: how.trust === true ? trustFile : null,
    onProgress: nothing,
  });

async function asOwner<T>(home: string, ask: (owner: pg.Client) => Promise<T>): Promise<T> {
  const target = await startEmbedded(join(home, "postgres"));
  const owner = new pg.Client(ownerConfig(target));
  await owner.connect();
  try {
    return await ask(owner);
  } finally {
    await owner.end();
    await stopEmbedded(target, join(home, "postgres"));
  }
}

beforeAll(async () => {
  writeFileSync(passphraseFile, `${PASSPHRASE}\n`, { mode: 0o600 });
  rig = await openGoalRig();
  const { installation, services } = rig;
  ({ runId } = await rig.runGoal(null));
  // Of a tenant that has nothing but a value, and a model vendor with its key.
  await installation.store.values("other").put("reports/key", { kept: true });
  writeFileSync(join(installation.folder.root, "config.yaml"), "keys:\n  enrol: manual\n");
  mkdirSync(join(installation.folder.root, "models"), { mode: 0o700 });
  writeFileSync(join(installation.folder.root, "models", "vendor.json"), "sk-very-secret-key");
  mkdirSync(join(installation.folder.root, "runs", "run_odd", "empty"), { recursive: true });
  writeFileSync(join(installation.folder.root, "runs", "run_odd", "none"), "");
  writeFileSync(join(installation.folder.root, "runs", "run_odd", "large"), "x".repeat(9_000_000));
  writeFileSync(trustFile, JSON.stringify(installation.keyLog.trustRoot()));
  expect(services.home).toBe(installation.folder.root);
  rows = await everyRow(rig.owner);
  await write(file);
});
afterAll(async () => {
  await rig.close();
  rmSync(work, { recursive: true, force: true });
});

describe("a backup", () => {
  it("is VALID by the trust root and by the passphrase, and nobody's without them", async () => {
    expect(await verify(file, { trust: true })).toMatchObject({
      verdict: "VALID",
      trustedBy: ["trust root"],
      installation: rig.installation.id,
    });
    expect(await verify(file, { passphrase: true })).toMatchObject({ trustedBy: ["passphrase"] });
    expect(await verify(file)).toMatchObject({ verdict: "UNTRUSTED_KEY", trustedBy: [] });
    const other = join(work, "wrong");
    writeFileSync(other, "another passphrase");
    await expect(
      servicesIn(work).verifyBackup(file, {
        passphraseFile: other,
        trustFile: null,
        onProgress: nothing,
      }),
    ).rejects.toMatchObject({ code: "ERR_KEY_PASSPHRASE" });
  });

  it("holds no secret in clear, not even of keys without a passphrase", () => {
    const bytes = readFileSync(file).toString("latin1");
    const plain = [...readTar(file)].map(({ name, bytes: part }) =>
      name.endsWith(".gz") ? unpacked(part) : part.toString("latin1"),
    );
    const texts = [bytes, ...plain].join("\n");
    const keys = join(rig.installation.folder.root, "keys");
    const seeds = readdirSync(keys).map((name) => {
      const { secret } = JSON.parse(readFileSync(join(keys, name), "utf8")) as {
        secret: { seed: string };
      };
      return secret.seed;
    });
    expect(seeds.length).toBeGreaterThan(5);
    const claim = /[0-9a-f]{64}/.exec(rows["claim_secret"]?.[0] ?? "")?.[0] ?? "";
    expect(claim).toHaveLength(64);
    for (const secret of [...seeds, claim, "sk-very-secret-key", "enrol: manual"]) {
      expect(texts).not.toContain(secret);
      expect(texts).not.toContain(Buffer.from(secret).toString("base64").slice(0, -4));
    }
  });

  it("is an installation again on an empty machine, and stopped until two people reset it", async () => {
    const home = join(work, "restored");
    const report = await restore(home);
    expect(report).toMatchObject({ installation: rig.installation.id, otherDatabase: null });
    expect(existsSync(join(work, ".restored.restoring"))).toBe(false);
    expect(await asOwner(home, everyRow)).toEqual(rows);
    const from = rig.installation.folder.root;
    for (const path of ["config.yaml", "models/vendor.json", "runs/run_odd/none"]) {
      expect(readFileSync(join(home, path))).toEqual(readFileSync(join(from, path)));
    }
    const large = readFileSync(join(home, "runs", "run_odd", "large"));
    expect(sha256Hex(large)).toBe(sha256Hex(Buffer.from("x".repeat(9_000_000))));

    const services = servicesIn(home);
    expect(() => {
      services.refuseWhileTripped("acme", null);
    }).toThrow(expect.objectContaining({ code: "ERR_SCRAM_TRIPPED" }) as Error);
    expect(await services.listRuns("acme", { limit: 10, status: null, kind: null })).toMatchObject([
      { runId, status: "completed" },
    ]);
    expect((await services.proveRun("acme", runId)).integrity).toMatchObject({
      verification_status: "VERIFIED",
    });
    const known = rig.installation.keyLog.current().windows.map(({ record }) => record.key_id);
    const keys = await services.listKeys();
    expect(keys.windows.map(({ record }) => record.key_id)).toEqual(known);
    const status = await services.scramStatus();
    expect(status.stops.map(({ event_id }) => event_id)).toEqual([report.eventId]);
    // The ledger says so, too, and what is signed from here on goes on from what was signed before.
    const again = await openInstallation({ home, databaseUrl: null, passphrase: null });
    const events: unknown[] = [];
    for await (const { bytes } of again.store.readStream(INSTALLATION_LOG, again.node.stream)) {
      events.push((JSON.parse(Buffer.from(bytes).toString()) as { event_type: string }).event_type);
    }
    expect(events).toContain("journal.restored");
    await again.close();
    await services.addKeys(
      [
        { purpose: "operator", role: "alice" },
        { purpose: "architect", role: "bob" },
      ],
      false,
    );
    const reset = { operatorKey: "alice", architectKey: "bob", statement: "looked into it" };
    expect(await services.scramReset(reset)).toMatchObject({ state: "ARMED" });
    services.refuseWhileTripped("acme", null);
  });

  it("goes from an embedded database to a server, and from there to another", async () => {
    mkdirSync(join(work, "server"));
    const server = await startPostgres(join(work, "server"));
    try {
      const home = join(work, "on-server");
      await restore(home, file, { DATABASE_URL: server.url });
      const owner = new pg.Client({
        connectionString: server.superuser.replace(/\/postgres$/, "/app"),
      });
      await owner.connect();
      expect(await everyRow(owner)).toEqual(rows);
      await owner.end();
      await expect(
        restore(join(work, "second"), file, { DATABASE_URL: server.url }),
      ).rejects.toMatchObject({ code: "ERR_RESTORE_REFUSED" });
      expect(existsSync(join(work, "second"))).toBe(false);
      const second = join(work, "from-server.tar");
      await servicesIn(home, { DATABASE_URL: server.url }).createBackup({
        passphraseFile,
        onProgress: nothing,
        write: (bytes) => {
          appendFileSync(second, bytes);
        },
      });
      const back = join(work, "back");
      await restore(back, second);
      expect((await servicesIn(back).proveRun("acme", runId)).integrity).toMatchObject({
        verification_status: "VERIFIED",
      });
    } finally {
      await server.stop();
    }
  });

  it("is whole while work goes on", async () => {
    const runs = Array.from({ length: 6 }, () => rig.runGoal(null));
    const during = join(work, "during.tar");
    await write(during);
    await Promise.all(runs);
    const home = join(work, "restored-during");
    await restore(home, during);
    const again = await openInstallation({ home, databaseUrl: null, passphrase: null });
    await again.close();
    expect((await servicesIn(home).proveRun("acme", runId)).integrity).toMatchObject({
      verification_status: "VERIFIED",
    });
  });
});

describe("a restore", () => {
  it("changes nothing where something is", async () => {
    const home = join(work, "full");
    mkdirSync(home);
    writeFileSync(join(home, "mine"), "kept");
    await expect(restore(home)).rejects.toMatchObject({ code: "ERR_RESTORE_REFUSED" });
    expect(readdirSync(home)).toEqual(["mine"]);
  });

  it("does not turn to the database that the backup's settings name", async () => {
    const path = join(rig.installation.folder.root, "config.yaml");
    const before = readFileSync(path);
    writeFileSync(path, "database:\n  url: postgres://u:hidden-word@db.example/app\n");
    const named = join(work, "named.tar");
    await write(named);
    writeFileSync(path, before);
    const refused = await restore(join(work, "named"), named).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "ERR_RESTORE_REFUSED" });
    expect(String(refused)).toContain("db.example");
    expect(String(refused)).not.toContain("hidden-word");
    expect(existsSync(join(work, "named"))).toBe(false);
    expect(existsSync(join(work, ".named.restoring"))).toBe(false);
  });
});

describe("a backup that was changed", () => {
  const parts = () => [...readTar(file)];
  const joined = (from: readonly { name: string; bytes: Buffer }[], path: string): string => {
    writeFileSync(
      path,
      Buffer.concat([...from.map(({ name, bytes }) => tarPart(name, bytes)), tarEnd()]),
    );
    return path;
  };
  const changed = join(work, "changed.tar");
  const place = async (path: string): Promise<string> => {
    const found: unknown = await verify(path, { trust: true }).then(
      (report) => report,
      (error: unknown) => error,
    );
    expect(found).toMatchObject({ code: "ERR_BACKUP_INVALID", exitCode: 4 });
    return (found as { details: { place: string } }).details.place;
  };

  it("is refused with the place, for any one bit of any part", async () => {
    for (const [number, part] of parts().entries()) {
      const bytes = readFileSync(file);
      const at = part.at + 512 + Math.floor(part.bytes.length / 2);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(changed, bytes);
      const found = await place(changed);
      // Of a list and a part that disagree, nobody can say which was changed.
      if (part.name !== "SHA256SUMS") expect([number, found]).toEqual([number, part.name]);
    }
  });

  it("is refused where it is cut off, anywhere", async () => {
    const bytes = readFileSync(file);
    const cuts = [0, 100, 512, 1024, bytes.length - 1, bytes.length - 600, bytes.length - 1024];
    for (const cut of [...cuts, ...parts().map(({ at }) => at)]) {
      writeFileSync(changed, bytes.subarray(0, cut));
      await place(changed);
    }
  });

  it("is refused where a part is missing, there twice, out of order or one too many", async () => {
    const all = parts();
    for (const at of all.keys()) {
      await place(joined([...all.slice(0, at), ...all.slice(at + 1)], changed));
      const one = all[at]!;
      await place(joined([...all.slice(0, at), one, ...all.slice(at)], changed));
    }
    const extra = { name: "files/999999.bin", bytes: Buffer.from("x") };
    await place(joined([extra, ...all], changed));
    await place(joined([...all, extra], changed));
    await place(joined([...all.slice(0, -1), extra, ...all.slice(-1)], changed));
    await place(joined([all[1]!, all[0]!, ...all.slice(2)], changed));
    appendFileSync(joined(all, changed), "more");
    await place(changed);
  });

  it("is refused where its headers say links, devices, paths or sizes of no part", async () => {
    const [first] = parts();
    const { bytes } = first!;
    for (const kind of ["1", "2", "3", "4", "5", "6", "x", "g", "L"]) {
      const header = tarPart(first!.name, bytes);
      header.write(kind, 156, "latin1");
      resum(header);
      writeFileSync(changed, Buffer.concat([header, tarEnd()]));
      expect(await place(changed)).toBe("byte 0");
    }
    for (const name of ["../outside", "/etc/passwd", "files/../x", "database/entries/0.gz", ""]) {
      writeFileSync(changed, Buffer.concat([tarPart(name, bytes), tarEnd()]));
      await place(changed);
    }
    const large = tarPart("tables.json", bytes);
    large.write("77777777777", 124, "latin1");
    resum(large);
    writeFileSync(changed, Buffer.concat([large, tarEnd()]));
    await place(changed);
  });

  it("is no backup of somebody else's making, whoever signs it", async () => {
    const other = await openGoalRig();
    try {
      await other.runGoal(null);
      const forged = join(work, "forged.tar");
      await createBackup(other.installation, {
        databaseUrl: null,
        version: "test",
        passphrase: "another passphrase",
        write: (bytes) => {
          appendFileSync(forged, bytes);
        },
        onProgress: nothing,
      });
      expect(await verify(forged)).toMatchObject({ verdict: "UNTRUSTED_KEY" });
      expect(await place(forged)).toBe("manifest.dsse.json");
      // Its database in ours, under their own signature.
      await expect(restore(join(work, "forged"), forged)).rejects.toMatchObject({
        code: "ERR_BACKUP_INVALID",
      });
      copyFileSync(forged, changed);
      await expect(
        servicesIn(join(work, "forged")).restoreBackup(forged, {
          passphraseFile,
          trustFile: null,
          onProgress: nothing,
        }),
      ).rejects.toMatchObject({ code: "ERR_KEY_PASSPHRASE" });
      expect(existsSync(join(work, "forged"))).toBe(false);
    } finally {
      await other.close();
    }
  });
});

function resum(header: Buffer): void {
  header.write("        ", 148, "latin1");
  const sum = header.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}

function unpacked(bytes: Buffer): string {
  return gunzipSync(bytes).toString("latin1");
}

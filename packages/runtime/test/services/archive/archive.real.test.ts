import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Frontier,
  INSTALLATION_LOG,
  type JsonObject,
  leafHash,
  parseCheckpointText,
  proveConsistency,
  sha256Hex,
  verifyConsistency,
} from "@sovereign/core";
import { parseTrustRoot, verifyAudit, verifyBundle } from "@sovereign/verify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openInstallation } from "../../../src/installation/index.ts";
import { archiveServices } from "../../../src/services/archive/archive-services.ts";
import type { ArchiveReport } from "../../../src/services/archive/archive-reports.ts";
import { makeArchive } from "../../../src/services/archive/make-archive.ts";
import { createBackup } from "../../../src/services/backup/create-backup.ts";
import { readTar, tarEnd, tarPart } from "../../../src/services/backup/tar.ts";
import { evidenceServices } from "../../../src/services/evidence-services.ts";
import { createServices } from "../../../src/services/index.ts";
import type { Opened } from "../../../src/services/opened.ts";
import { Settings } from "../../../src/home/index.ts";
import { commitSealedRun } from "../../support/archived-run.ts";
import { schemaFaults } from "../../support/event-schemas.ts";
import { answerJson, type GoalRig, openGoalRig } from "../../support/goal-rig.ts";
import { everyRow } from "../../support/rows.ts";

const PASSPHRASE = "a good passphrase";
const work = mkdtempSync(join(tmpdir(), "sov-archive-"));
const file = join(work, "archive.tar");
const trustFile = join(work, "trust.json");
const nothing = (): void => undefined;
let rig: GoalRig;
let services: ReturnType<typeof archiveServices> & ReturnType<typeof evidenceServices>;
let before: string;
let report: ArchiveReport;
/** The runs that were archived, the one that an incident keeps, and the one that came too late. */
let old: string[];
let kept: string;
let late: string;
/** What was exported before anything left the database. */
const bundles = new Map<string, Uint8Array>();
let audit: string;
let rows: Record<string, string[]>;

const archive = (out = file, more: object = {}) =>
  services.archiveLedger({ tenantId: "acme", before, out, onProgress: nothing, ...more });
const verify = (path: string, trust: string | null = trustFile) =>
  createServices({ SOVEREIGN_HOME: join(work, "none") }).verifyArchive(path, {
    trustFile: trust,
    onProgress: nothing,
  });
const restore = (path = file) => services.restoreArchive(path, nothing);

async function exportAudit(archives: readonly string[] = [], from = services): Promise<string> {
  const lines: string[] = [];
  await from.exportAudit("acme", (line) => lines.push(line), false, archives);
  return lines.join("");
}

async function evidenceRows(): Promise<unknown> {
  const { entries, envelopes } = await everyRow(rig.owner);
  return { entries: entries?.filter((row) => row.startsWith("(acme,")), envelopes };
}

/** A step whose server hangs up in the middle: its incident waits for a person. */
async function lostRun(): Promise<string> {
  rig.answer = (_, response) => {
    response.socket?.destroy();
  };
  const step = { url: `http://${rig.host}/lost`, method: "POST" };
  const plan = rig.planFile([{ id: "send", skill: "http_call", with: step }]);
  const { runId } = await rig.runGoal(plan);
  rig.answer = answerJson;
  return runId;
}

beforeAll(async () => {
  rig = await openGoalRig();
  const { installation } = rig;
  const opened: Opened = (ask) => ask(installation);
  const settings = new Settings({ SOVEREIGN_HOME: rig.home });
  services = { ...archiveServices(settings, "test", opened), ...evidenceServices(opened) };
  old = [(await rig.runGoal(null)).runId, (await rig.runGoal(null)).runId];
  kept = await lostRun();
  await rig.runGoal(null, { tenantId: "globex" });
  before = new Date().toISOString();
  late = (await rig.runGoal(null)).runId;
  for (const id of old) bundles.set(id, await services.exportBundle("acme", id, true));
  audit = await exportAudit();
  rows = await everyRow(rig.owner);
  writeFileSync(trustFile, JSON.stringify(installation.keyLog.trustRoot()));
  report = (await archive()) as ArchiveReport;
});
afterAll(async () => {
  await rig.close();
  rmSync(work, { recursive: true, force: true });
});

describe("an archive", () => {
  it("holds the runs that were sealed before the date, and no others", async () => {
    expect(report).toMatchObject({ tenant: "acme", before, runs: 2, left: 0, file });
    expect(report.taken).toBe(report.entries);
    expect(report.digest).toBe(sha256Hex(readFileSync(file)));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const left = await rig.owner.query<{ stream: string }>(
      "select distinct stream from sovereign.entries where bytes is null order by 1",
    );
    expect(left.rows.map(({ stream }) => stream)).toEqual(old.sort());
    const envelopes = await rig.owner.query(
      "select 1 from sovereign.envelopes where bytes is null",
    );
    expect(envelopes.rowCount).toBe(report.envelopes);
    expect(report.envelopes).toBeGreaterThan(2);
  });

  it("is VALID by the trust root, offline, and nobody's without it", async () => {
    expect(await verify(file)).toMatchObject({ verdict: "VALID", digest: report.digest });
    expect(await verify(file, null)).toMatchObject({ verdict: "UNTRUSTED_KEY" });
  });

  it("can be looked into without Sovereign", () => {
    const folder = join(work, "unpacked");
    mkdirSync(folder);
    execFileSync("tar", ["xf", file, "-C", folder]);
    execFileSync("sha256sum", ["-c", "--quiet", "SHA256SUMS"], { cwd: folder });
  });

  it("is recorded with who made it, of the published schema, and listed", async () => {
    const said: JsonObject[] = [];
    for await (const { bytes } of rig.installation.store.readStream(INSTALLATION_LOG, "ledger")) {
      const entry = JSON.parse(Buffer.from(bytes).toString()) as JsonObject;
      expect(schemaFaults(entry["event_type"] as string, entry["data"] as JsonObject)).toEqual([]);
      said.push(entry);
    }
    expect(said).toMatchObject([
      { event_type: "ledger.archived", data: { tenant_id: "acme", archive: report.digest } },
    ]);
    expect(await services.listArchives("acme")).toMatchObject([
      { digest: report.digest, runs: 2, entries: report.entries, inDatabase: 0 },
    ]);
    expect(await services.listArchives("globex")).toEqual([]);
  });

  it("is gone on with where the file is there, and comes to nothing where no run is left", async () => {
    expect(await archive()).toMatchObject({ digest: report.digest, taken: 0 });
    expect(await archive(join(work, "second.tar"))).toBeNull();
    const options = { out: file, databaseUrl: null, version: "test", onProgress: nothing };
    for (const more of [{ tenantId: "globex" }, { before: "2020-01-01T00:00:00.000Z" }]) {
      const made = makeArchive(rig.installation, { tenantId: "acme", before, ...options, ...more });
      await expect(made).rejects.toMatchObject({ code: "ERR_ARCHIVE_REFUSED" });
    }
  });

  it.each([
    ["the installation's log", { tenantId: INSTALLATION_LOG }, "ERR_TENANT_INVALID"],
    ["days that have not come", { before: "2999-01-01T00:00:00.000Z" }, "ERR_ARCHIVE_REFUSED"],
  ])("is not made of %s", async (_, more, code) => {
    const made = archive(join(work, "never.tar"), more);
    await expect(made).rejects.toMatchObject({ code, exitCode: 2 });
  });
});

describe("evidence of which entries are in an archive", () => {
  const archived = {
    code: "ERR_ENTRY_ARCHIVED",
    exitCode: 1,
    message: expect.stringContaining("sovereign ledger restore FILE") as string,
  };

  it("is named where it is asked for without the archive", async () => {
    const [run = ""] = old;
    const attempts = [
      services.exportBundle("acme", run, false),
      exportAudit(),
      rig.services.proveRun("acme", run),
      rig.services.rebuildIncidents("acme"),
    ];
    for (const result of await Promise.allSettled(attempts)) {
      expect(result).toMatchObject({ status: "rejected", reason: archived });
      expect(String((result as PromiseRejectedResult).reason)).toContain(report.digest);
    }
    expect(await rig.services.showRun("acme", run)).toMatchObject({ status: "completed" });
    expect((await rig.services.proveRun("acme", late)).integrity).toMatchObject({
      verification_status: "VERIFIED",
    });
    await services.exportBundle("acme", kept, false);
    // It is no damage: nobody is called to look at it.
    const open = { limit: 9, state: "unresolved", kind: null } as const;
    expect(await rig.services.listIncidents("acme", open)).toMatchObject([{ run_id: kept }]);
  });

  it("is with it, byte for byte, what it was, and verifies", async () => {
    for (const run of old) {
      const bundle = await services.exportBundle("acme", run, true, [file]);
      expect(Buffer.from(bundle).equals(Buffer.from(bundles.get(run) ?? []))).toBe(true);
      expect(verifyBundle(bundle, { trustRoot: readFileSync(trustFile) }).verdict).toBe("VALID");
    }
    expect(await exportAudit([file])).toBe(audit);
    expect((await exportAudit([file])).length).toBeGreaterThan(1000);
  });

  it("stands under heads from before and after, in one tree", async () => {
    const { store } = rig.installation;
    const first = await store.checkpointCovering("acme", report.lastIndex + 1);
    await rig.runGoal(null);
    const all = await exportAudit([file]);
    expect(all.startsWith(audit)).toBe(true);
    const lines = all.trimEnd().split("\n");
    const last = await store.checkpointCovering("acme", lines.length);
    const leaves = lines.map((line) =>
      leafHash(Buffer.from(line.slice('{"entry":'.length, line.lastIndexOf(',"hash":"')))),
    );
    const rootOf = (from: number, to: number): Uint8Array => {
      const tree = new Frontier();
      for (const leaf of leaves.slice(from, to)) tree.append(leaf);
      return tree.root();
    };
    const [one, two] = [first, last].map((head) =>
      parseCheckpointText(`${(head?.note ?? "").split("\n").slice(0, 3).join("\n")}\n`),
    );
    if (one === undefined || two === undefined) throw new Error("no heads");
    expect(two.size).toBeGreaterThan(one.size);
    const path = proveConsistency(one.size, two.size, rootOf);
    verifyConsistency(one.size, one.root, two.size, two.root, path);
    const trust = parseTrustRoot(readFileSync(trustFile));
    for (const head of [first, last]) {
      const checkpoint = { note: head?.note ?? "", trust };
      const found = await verifyAudit(chunks(all), { checkpoint });
      expect(found).toMatchObject({ verdict: "VALID", checkpoint_size: head?.size });
    }
  });
});

async function* chunks(text: string): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  yield Buffer.from(text);
}

describe("an archive that was changed", () => {
  const changed = join(work, "changed.tar");
  const refused = async (): Promise<string> => {
    const found = await verify(changed).catch((error: unknown) => error);
    expect(found).toMatchObject({ code: "ERR_ARCHIVE_INVALID", exitCode: 4 });
    const used = await restore(changed).catch((error: unknown) => error);
    expect(used).toMatchObject({ code: "ERR_ARCHIVE_INVALID" });
    const { message } = found as Error;
    expect(message).not.toContain("\n");
    return message;
  };
  const parts = () => [...readTar(file)];
  const write = (from: readonly { name: string; bytes: Buffer }[]): void => {
    const blocks = from.map(({ name, bytes }) => tarPart(name, bytes));
    writeFileSync(changed, Buffer.concat([...blocks, tarEnd()]));
  };

  it("is refused for any one bit of any part, and cut off anywhere", async () => {
    for (const part of parts()) {
      const bytes = readFileSync(file);
      const at = part.at + 512 + Math.floor(part.bytes.length / 2);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      writeFileSync(changed, bytes);
      await refused();
      writeFileSync(changed, readFileSync(file).subarray(0, part.at));
      await refused();
    }
    writeFileSync(changed, Buffer.concat([readFileSync(file), Buffer.from("more")]));
    await refused();
  });

  it("is refused where a part is missing, there twice, out of order, or has a path", async () => {
    const all = parts();
    for (const at of all.keys()) {
      write([...all.slice(0, at), ...all.slice(at + 1)]);
      await refused();
    }
    write([...all.slice(1, 2), ...all.slice(0, 1), ...all.slice(2)]);
    await refused();
    for (const name of [
      "../../etc/passwd",
      "/etc/passwd",
      "entries/000009.jsonl.gz",
      "x".repeat(99),
    ]) {
      write([{ name, bytes: Buffer.from("x") }, ...all]);
      expect(await refused()).toContain("no part of an archive has this name or place");
    }
  });

  it("is refused where it says a huge size, a link, or lines that unpack to too much", async () => {
    const header = (size: string, kind: string): Buffer => {
      const part = tarPart("entries/000000.jsonl.gz", Buffer.from("x"));
      part.write(`${size}\0`, 124, "latin1");
      part.write(kind, 156, "latin1");
      part.write("        ", 148, "latin1");
      const sum = part.subarray(0, 512).reduce((total, byte) => total + byte, 0);
      part.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
      return part;
    };
    for (const [size, kind] of [
      ["77777777777", "0"],
      ["00000000001", "2"],
      ["00000000001", "6"],
    ]) {
      writeFileSync(changed, Buffer.concat([header(size ?? "", kind ?? ""), tarEnd()]));
      await refused();
    }
    const bomb = execFileSync("gzip", ["-9c"], { input: Buffer.alloc(100 * 1024 * 1024) });
    write([{ name: "entries/000000.jsonl.gz", bytes: bomb }]);
    expect(await refused()).toContain("it cannot be unpacked");
  });

  it.each(["FIFO", "folder", "text"])("is refused where it is a %s", async (kind) => {
    const path = join(work, kind);
    if (kind === "FIFO") execFileSync("mkfifo", [path]);
    else if (kind === "folder") mkdirSync(path);
    else writeFileSync(path, "no archive");
    const code = kind === "text" ? "ERR_ARCHIVE_INVALID" : "ERR_FILE_UNREADABLE";
    await expect(verify(path)).rejects.toMatchObject({ code });
    await expect(exportAudit([path])).rejects.toMatchObject({ code });
    await expect(archive(path)).rejects.toMatchObject({ code });
  });

  it("is refused where it is of another installation, or was never recorded", async () => {
    const other = await openGoalRig();
    try {
      await other.runGoal(null);
      const out = join(work, "foreign.tar");
      const options = { out, databaseUrl: null, version: "test", onProgress: nothing };
      const until = new Date().toISOString();
      await makeArchive(other.installation, { tenantId: "acme", before: until, ...options });
      for (const attempt of [() => restore(out), () => exportAudit([out]), () => archive(out)]) {
        await expect(attempt()).rejects.toMatchObject({
          code: expect.stringMatching(/ERR_ARCHIVE_(REFUSED|INVALID)/) as string,
        });
      }
      await expect(verify(out)).rejects.toMatchObject({ code: "ERR_ARCHIVE_INVALID" });
    } finally {
      await other.close();
    }
  });
});

describe("a run that is no whole chain", () => {
  it("stays, and keeps no other from leaving", async () => {
    const { store } = rig.installation;
    const until = "2026-06-01T00:00:00.000Z";
    const whole = await commitSealedRun(store, "initech");
    const broken = await commitSealedRun(store, "initech");
    await rig.owner.query(
      "alter table sovereign.entries disable trigger append_only; update sovereign.entries set stream = 'set-aside/entries', sequence = index where log_id = 'initech' and index = " +
        `${broken.firstIndex}; alter table sovereign.entries enable trigger append_only`,
    );
    const out = join(work, "initech.tar");
    const made = await archive(out, { tenantId: "initech", before: until });
    expect(made).toMatchObject({ runs: 1, damaged: 1, taken: 2 });
    expect(await verify(out)).toMatchObject({ verdict: "VALID", lastIndex: whole.firstIndex + 1 });
    expect(await store.streamHead("initech", broken.runId)).toEqual(broken.head);
  });
});

describe("an installation with archived entries", () => {
  it("is backed up and restored row for row, and exports the same with the archive", async () => {
    const backup = join(work, "backup.tar");
    const passphraseFile = join(work, "passphrase");
    writeFileSync(passphraseFile, PASSPHRASE, { mode: 0o600 });
    const blocks: Uint8Array[] = [];
    const now = await everyRow(rig.owner);
    await createBackup(rig.installation, {
      databaseUrl: null,
      version: "test",
      passphrase: PASSPHRASE,
      write: (bytes) => blocks.push(bytes),
      onProgress: nothing,
    });
    writeFileSync(backup, Buffer.concat(blocks));
    const home = join(work, "restored");
    const restored = createServices({
      PATH: process.env["PATH"],
      HOME: work,
      SOVEREIGN_HOME: home,
    });
    const options = { passphraseFile, trustFile, onProgress: nothing };
    expect(await restored.verifyBackup(backup, options)).toMatchObject({ verdict: "VALID" });
    await restored.restoreBackup(backup, options);
    const opened = await openInstallation({ home, databaseUrl: null, passphrase: null });
    try {
      const there = { ...evidenceServices((ask) => ask(opened)) };
      const lines: string[] = [];
      await there.exportAudit("acme", (line) => lines.push(line), false, [file]);
      expect(lines.join("").startsWith(audit)).toBe(true);
    } finally {
      await opened.close();
    }
    expect(await restored.listArchives("acme")).toMatchObject([{ inDatabase: 0 }]);
    expect(await restored.restoreArchive(file, nothing)).toMatchObject({
      putBack: report.entries,
    });
    expect(await everyRow(rig.owner)).toEqual(now);
  });

  it("has them back after a restore, as they were, and archives them again", async () => {
    expect(await restore()).toMatchObject({ putBack: report.entries, tenant: "acme" });
    expect(await restore()).toMatchObject({ putBack: 0 });
    const now = (await evidenceRows()) as { entries: string[]; envelopes: string[] };
    expect(now.entries).toEqual(
      expect.arrayContaining(rows["entries"]?.filter((row) => row.startsWith("(acme,")) ?? []),
    );
    expect(now.envelopes).toEqual(expect.arrayContaining(rows["envelopes"] ?? []));
    expect((await exportAudit()).startsWith(audit)).toBe(true);
    for (const run of old) {
      const bundle = await services.exportBundle("acme", run, true);
      expect(Buffer.from(bundle).equals(Buffer.from(bundles.get(run) ?? []))).toBe(true);
    }
    // The same file again, and then another.
    expect(await archive()).toMatchObject({ digest: report.digest, taken: report.entries });
    expect(await restore()).toMatchObject({ putBack: report.entries });
    expect(await services.listArchives("acme")).toMatchObject([{ inDatabase: report.entries }]);
    const events: string[] = [];
    for await (const { bytes } of rig.installation.store.readStream(INSTALLATION_LOG, "ledger")) {
      const entry = JSON.parse(Buffer.from(bytes).toString()) as JsonObject;
      const { tenant_id: tenant } = entry["data"] as JsonObject;
      if (tenant === "acme") events.push(entry["event_type"] as string);
    }
    expect(events).toEqual(
      ["archived", "restored", "archived", "restored"].map((one) => `ledger.${one}`),
    );
    const again = await archive(join(work, "again.tar"));
    expect(again).toMatchObject({ runs: 2, taken: report.entries });
    // Either file has them.
    for (const one of [file, join(work, "again.tar")]) {
      expect((await exportAudit([one])).startsWith(audit)).toBe(true);
    }
  });
});

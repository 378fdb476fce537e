import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { INSTALLATION_KEYS } from "../../../src/authority/index.ts";
import { openInstallation } from "../../../src/installation/index.ts";
import { createServices } from "../../../src/services/index.ts";
import { startEmbedded, stopEmbedded } from "../../../src/store/embedded.ts";
import { copyCluster } from "../../support/prepared.ts";

const CLI = join(import.meta.dirname, "../../../src/main/cli.ts");
/** Large enough that a kill comes in between. */
const FILE_BYTES = 200 * 1024 * 1024;
const work = mkdtempSync(join(tmpdir(), "sov-backup-killed-"));
const home = join(work, "home");
const passphraseFile = join(work, "passphrase");

const type = (at: string, ...words: string[]): ChildProcess =>
  spawn(process.execPath, ["--disable-warning=ExperimentalWarning", CLI, ...words], {
    env: { PATH: process.env["PATH"], HOME: work, SOVEREIGN_HOME: at },
    stdio: "ignore",
  });

/** Waits for what a command does, and fails where the command ends before. */
async function until(child: ChildProcess, seen: () => boolean): Promise<void> {
  while (!seen()) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode} before`);
    await sleep(5);
  }
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

beforeAll(async () => {
  writeFileSync(passphraseFile, "a good passphrase");
  copyCluster(join(home, "postgres"));
  const made = await openInstallation({ home, databaseUrl: null, passphrase: null });
  await made.keyLog.initialise(made.keystore, INSTALLATION_KEYS);
  await made.close();
  mkdirSync(join(home, "runs", "run_large"), { recursive: true });
  writeFileSync(join(home, "runs", "run_large", "large"), "");
  truncateSync(join(home, "runs", "run_large", "large"), FILE_BYTES);
});
afterAll(() => {
  rmSync(work, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
});

describe("a command that is killed with -9", () => {
  it("while it makes a backup leaves none, and what it leaves is no backup", async () => {
    const out = join(work, "killed.tar");
    const words = ["--out", out, "--passphrase-file", passphraseFile];
    const child = type(home, "backup", "create", ...words);
    const partial = (): string | undefined =>
      readdirSync(work).find((name) => name.startsWith(".killed.tar."));
    const size = (): number => {
      const name = partial();
      return name === undefined ? 0 : statSync(join(work, name)).size;
    };
    await until(child, () => size() > 20_000_000);
    await kill(child);
    expect(existsSync(out)).toBe(false);
    const left = partial();
    expect(left).toBeDefined();
    await expect(
      createServices({ SOVEREIGN_HOME: home }).verifyBackup(join(work, left ?? ""), {
        passphraseFile: null,
        trustFile: null,
        onProgress: () => undefined,
      }),
    ).rejects.toMatchObject({ code: "ERR_BACKUP_INVALID" });
  });

  it("while it restores leaves no data folder, says what is left, and is done again", async () => {
    const out = join(work, "whole.tar");
    const create = type(
      home,
      "backup",
      "create",
      "--out",
      out,
      "--passphrase-file",
      passphraseFile,
    );
    const [made] = (await once(create, "exit")) as [number];
    expect(made).toBe(0);
    const to = join(work, "restored");
    const staging = join(work, ".restored.restoring");
    const child = type(to, "backup", "restore", out, "--passphrase-file", passphraseFile);
    await until(child, () => existsSync(join(staging, "runs", "run_large", "large")));
    await kill(child);
    expect(existsSync(to)).toBe(false);
    expect(existsSync(staging)).toBe(true);
    const services = createServices({ PATH: process.env["PATH"], SOVEREIGN_HOME: to });
    const input = { passphraseFile, trustFile: null, onProgress: () => undefined };
    await expect(services.restoreBackup(out, input)).rejects.toMatchObject({
      code: "ERR_RESTORE_REFUSED",
      message: expect.stringContaining(`rm -r ${staging}`) as string,
    });
    // The database that the killed command began may still be there.
    const postgres = join(staging, "postgres");
    await stopEmbedded(await startEmbedded(postgres), postgres);
    rmSync(staging, { recursive: true, maxRetries: 20, retryDelay: 100 });
    const report = await services.restoreBackup(out, input);
    expect(statSync(join(to, "runs", "run_large", "large")).size).toBe(FILE_BYTES);
    const status = await services.scramStatus();
    expect(status.stops.map(({ event_id }) => event_id)).toEqual([report.eventId]);
  });
});

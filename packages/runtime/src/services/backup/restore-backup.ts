import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { base64Decode, sha256Hex, SovereignError } from "@sovereign/core";
import { type Passphrase, refuseWorkTree } from "../../authority/index.ts";
import { loadConfig } from "../../home/index.ts";
import { eventIdOf, Journal, journalStops, ScramLatch } from "../../scram/index.ts";
import { loadDatabase, removeSocketFolder } from "../../store/index.ts";
import { type Clock, timestampOf } from "../../system/index.ts";
import { unreadableBackup } from "./backup-error.ts";
import type { RestoreReport } from "./backup-reports.ts";
import { indexPart, type IndexLine, linesOf, parseIndexLine } from "./parts.ts";
import { readBackup, type ReadOptions, type VerifiedBackup } from "./read-backup.ts";
import { readTar } from "./tar.ts";

export interface RestoreOptions extends ReadOptions {
  readonly home: string;
  /** The empty database to restore into; null for an embedded one. */
  readonly databaseUrl: string | null;
  readonly passphrase: Passphrase;
  readonly clock: Clock;
}

/**
 * Make a data folder, and a database, of a backup. Every byte is verified before anything is made. What is
 * made lies beside the folder, and gets its name when all of it is durable.
 *
 * INVARIANT: a restored folder is stopped. Nobody knows what was stopped after the backup was made, nor
 * whether the installation that it is a copy of still works; two people look into that, and reset.
 *
 * @throws ERR_RESTORE_REFUSED where the folder or the database holds something, ERR_BACKUP_INVALID,
 *   ERR_KEY_PASSPHRASE
 */
export async function restoreBackup(file: string, options: RestoreOptions): Promise<RestoreReport> {
  const { home, databaseUrl, onProgress } = options;
  requireEmpty(home);
  const backup = await readBackup(file, options);
  const staging = makeStaging(home);
  try {
    const secrets = requireSecrets(backup);
    for (const { path, executable, content } of secrets.files) {
      new StagedFile(staging, { path, executable, bytes: 0 }).end(base64Decode(content));
    }
    const otherDatabase = databaseOf(staging, databaseUrl);
    const postgres = join(staging, "postgres");
    let rows = 0;
    let files = secrets.files.length;
    await loadDatabase({ folder: postgres, databaseUrl }, backup.schema, async (loader) => {
      const placed = new Placing(file, staging, backup);
      for (const part of readTar(file)) {
        const [, table] = /^database\/([a-z0-9_]+)\//.exec(part.name) ?? [];
        requireSame(backup, part.name, part.bytes);
        if (table !== undefined) {
          const lines = linesOf(part.name, part.bytes);
          await loader.load(table, lines);
          rows += lines.length;
          onProgress({ event: "backup.rows", table, rows });
        } else if (part.name.startsWith("files/")) placed.take(part.bytes);
      }
      for (const [table, lines] of Object.entries(secrets.tables)) {
        await loader.load(table, lines);
        rows += lines.length;
      }
      files += placed.end();
      onProgress({ event: "backup.files", files, bytes: backup.report.bytes });
    });
    const eventId = stopEverything(staging, backup, options.clock);
    await removeSocketFolder(postgres);
    syncFolders(staging);
    takeName(staging, home);
    return {
      installation: backup.report.installation,
      home,
      database:
        databaseUrl === null ? "embedded PostgreSQL" : `PostgreSQL at ${new URL(databaseUrl).host}`,
      madeAt: backup.report.madeAt,
      rows,
      files,
      eventId,
      otherDatabase,
    };
  } catch (error) {
    await removeSocketFolder(join(staging, "postgres"));
    rmSync(staging, { recursive: true, force: true });
    throw error;
  }
}

function requireSecrets({ secrets }: VerifiedBackup): NonNullable<VerifiedBackup["secrets"]> {
  if (secrets === null) throw new Error("a backup is restored with its passphrase");
  return secrets;
}

/** Between two readings somebody may have changed it. */
function requireSame({ sums }: VerifiedBackup, name: string, bytes: Buffer): void {
  const sum = sums.get(name);
  // The manifest is no part of the list that it signs, and nothing is made of it.
  if (sum === undefined || sum === sha256Hex(bytes)) return;
  throw unreadableBackup(name, "it was changed while it was restored");
}

/** A folder that is not there, or has nothing in it. @throws ERR_RESTORE_REFUSED */
function requireEmpty(home: string): void {
  refuseWorkTree(home);
  const found = lstatSync(home, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isDirectory()) throw refused(home, "something that is no folder");
  const [first] = readdirSync(home);
  if (first !== undefined) throw refused(home, `${first.slice(0, 100)} in it`);
}

function refused(home: string, found: string): SovereignError {
  const text = `Expected an empty folder to restore into at ${home}, found ${found}. Nothing was changed. Set SOVEREIGN_HOME to a folder that is not there yet.`;
  return new SovereignError("ERR_RESTORE_REFUSED", text, { home });
}

/** Beside the folder, so that one rename gives it its name. */
function makeStaging(home: string): string {
  const staging = join(dirname(home), `.${basename(home)}.restoring`);
  mkdirSync(dirname(home), { recursive: true, mode: 0o700 });
  try {
    mkdirSync(staging, { mode: 0o700 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    const text = `${staging} is there: another restore works there, or was broken off. If none runs, remove it: rm -r ${staging}`;
    throw new SovereignError("ERR_RESTORE_REFUSED", text, { staging }, cause);
  }
  return staging;
}

/**
 * The host of another database that the restored settings name. A copy must not turn to the database of
 * the installation that it was copied from.
 */
function databaseOf(staging: string, databaseUrl: string | null): string | null {
  const { url } = loadConfig(staging).database;
  if (url === null || url === databaseUrl) return null;
  const host = URL.canParse(url) ? new URL(url).host : "unknown";
  if (databaseUrl !== null) return host;
  const text = `The backup's config.yaml names a database at ${host}, which commands would use after the restore. Set DATABASE_URL to an empty database to restore into. Nothing was changed.`;
  throw new SovereignError("ERR_RESTORE_REFUSED", text, { host });
}

/** Cuts the bytes of the files into files again. */
class Placing {
  readonly #staging: string;
  readonly #lines: Generator<IndexLine, void>;
  #file: StagedFile | null = null;
  #count = 0;

  constructor(file: string, staging: string, backup: VerifiedBackup) {
    this.#staging = staging;
    this.#lines = indexLines(file, backup);
    this.#open();
  }

  take(bytes: Buffer): void {
    for (let rest = bytes; rest.length > 0; ) {
      if (this.#file === null) throw unreadableBackup("files/", "they have more than their index");
      rest = rest.subarray(this.#file.take(rest));
      if (this.#file.left === 0) this.#open();
    }
  }

  /** @returns how many files were written */
  end(): number {
    if (this.#file !== null) throw unreadableBackup("files/", "they have less than their index");
    return this.#count;
  }

  /** The next file that has bytes. */
  #open(): void {
    for (;;) {
      this.#file?.end();
      const next = this.#lines.next();
      this.#file = next.done === true ? null : new StagedFile(this.#staging, next.value);
      if (this.#file === null) return;
      this.#count += 1;
      if (this.#file.left > 0) return;
    }
  }
}

function* indexLines(file: string, backup: VerifiedBackup): Generator<IndexLine, void> {
  let number = 0;
  for (const { name, bytes } of readTar(file)) {
    if (name !== indexPart(number)) continue;
    requireSame(backup, name, bytes);
    number += 1;
    for (const line of linesOf(name, bytes)) yield parseIndexLine(name, line);
  }
}

/** A file of the new folder. Its path was verified, and the folder is ours alone: no link is in it. */
class StagedFile {
  readonly #file: number;
  left: number;

  constructor(staging: string, { path, bytes, executable }: IndexLine) {
    const place = join(staging, path);
    mkdirSync(dirname(place), { recursive: true, mode: 0o700 });
    this.#file = openSync(place, "wx", executable ? 0o700 : 0o600);
    this.left = bytes;
  }

  /** @returns how many of the bytes were its own */
  take(bytes: Uint8Array): number {
    const own = bytes.subarray(0, this.left);
    for (let at = 0; at < own.length; ) at += writeSync(this.#file, own, at);
    this.left -= own.length;
    return own.length;
  }

  end(bytes: Uint8Array = new Uint8Array()): void {
    this.left = bytes.length;
    this.take(bytes);
    fsyncSync(this.#file);
    closeSync(this.#file);
  }
}

/** The switch is tripped in the new folder before anybody can open it, and its journal says why. */
function stopEverything(staging: string, { report }: VerifiedBackup, clock: Clock): string {
  const folder = join(staging, "scram");
  const latch = new ScramLatch(folder);
  const before = latch.status();
  const at = timestampOf(clock);
  const eventId = eventIdOf(clock);
  const stop = { event_id: eventId, scope: { kind: "all" }, reason: "system_critical" } as const;
  latch.trip({ ...stop, tripped_at: at });
  const journal = Journal.open(join(folder, "journal.jsonl"));
  const { sums: backup, madeAt: made_at } = report;
  const known = new Set(journalStops(journal.lines).map(({ event_id }) => event_id));
  const lines = journal.lines.length;
  journal.append("journal.restored", at, { event_id: eventId, backup, made_at, lines });
  latch.sync();
  // A stop that was under way when the backup was made stays one that nobody can vouch for.
  const latched = before.state === "ARMED" ? [] : before.stops;
  if (latched?.every(({ event_id }) => known.has(event_id)) === true) {
    latch.settle({ lines: journal.lines.length, head: journal.head });
  }
  return eventId;
}

function syncFolders(folder: string): void {
  for (const one of readdirSync(folder, { withFileTypes: true })) {
    // The database syncs what is its own.
    if (one.isDirectory() && one.name !== "postgres") syncFolders(join(folder, one.name));
  }
  syncFolder(folder);
}

function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function takeName(staging: string, home: string): void {
  requireEmpty(home);
  // An empty folder is replaced; one that was filled meanwhile is not.
  renameSync(staging, home);
  syncFolder(dirname(home));
  if (!existsSync(home)) throw new Error(`${home} did not get its name`);
}

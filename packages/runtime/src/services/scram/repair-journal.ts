import { closeSync, fsyncSync, linkSync, openSync, renameSync, writeSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  canonicalize,
  digestOf,
  fields,
  formats,
  INSTALLATION_LOG,
  type JsonObject,
  parseCanonicalJson,
  parseFormat,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import type { ScramRepairReport } from "./scram-reports.ts";
import {
  kindAt,
  openOwnFile,
  ownsFile,
  putAside,
  readOwnFile,
  removeAt,
  systemClock,
} from "../../system/index.ts";
import { lockFolder } from "../../process/index.ts";
import { type DataFolder, openSwitchFolder, Settings } from "../../home/index.ts";
import {
  eventIdOf,
  Journal,
  JOURNAL_BYTES_MAX,
  type JournalLine,
  type JournalRepair,
  mendSwitchFolder,
  readPieces,
  repairJournal,
  repairStatement,
  ScramLatch,
} from "../../scram/index.ts";
import { Store } from "../../store/index.ts";
import { ownStream } from "../../installation/index.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** How long a sentinel that nobody needs any more gets to leave. */
const LEAVE_MS = 10_000;

const anchored = z.looseObject({
  journal: z.strictObject({ sequence: fields.count, previous_hash: fields.digest }),
});

/**
 * Repair the sentinel's journal: nothing that can be read is lost, what is lost is said in the journal
 * itself, and everything is stopped until two keys reset it.
 *
 * @throws ERR_SCRAM_UNWRITABLE while a sentinel serves the folder, or where it cannot be written
 */
export async function repairScram(
  home: string,
  environment: Environment,
): Promise<ScramRepairReport> {
  const folder = openSwitchFolder(home);
  mendSwitchFolder(folder.scram);
  const latch = new ScramLatch(folder.scram);
  const lock = await takeLock(folder.scram, environment["PATH"] ?? "");
  try {
    const path = join(folder.scram, "journal.jsonl");
    claim(path);
    const pieces = readPieces(path);
    const { lines: known, trouble: ledger } = await readLedger(folder, environment, pieces);
    if (isSound(path, known)) return { ...NOTHING, ledger };
    const eventId = eventIdOf(systemClock);
    const at = systemClock.now().toISOString();
    // Stopped first: whatever becomes of the repair.
    const stop = { event_id: eventId, scope: { kind: "all" }, reason: "system_critical" } as const;
    latch.trip({ ...stop, tripped_at: at });
    latch.sync();
    const repair = repairJournal(pieces, known, at);
    const aside = replaceJournal(path, repair, eventId, at);
    const { lost, unreadable, fromLedger, salvaged } = repair;
    return {
      repaired: true,
      event_id: eventId,
      kept: repair.lines.length - lost,
      lost,
      unreadable,
      salvaged: salvaged.length,
      from_ledger: fromLedger,
      aside,
      ledger,
    };
  } finally {
    closeSync(lock);
  }
}

const NOTHING = {
  repaired: false,
  event_id: null,
  kept: 0,
  lost: 0,
  unreadable: 0,
  salvaged: 0,
  from_ledger: 0,
  aside: null,
} as const;

async function takeLock(folder: string, searchPath: string): Promise<number> {
  for (let waited = 0; ; waited += 100) {
    const lock = lockFolder(folder, searchPath);
    if (lock.kind === "taken") return lock.descriptor;
    if (lock.kind === "failed" || waited >= LEAVE_MS) {
      const why = lock.kind === "failed" ? lock.why : "a sentinel serves it";
      const text = `The journal in ${folder} cannot be repaired now: ${why}. End what uses it (scram serve, nodes watch, running work), and try again.`;
      throw new SovereignError("ERR_SCRAM_UNWRITABLE", text, { folder });
    }
    await sleep(100);
  }
}

/** As far as that can be; what cannot be read is taken for damaged. */
function claim(path: string): void {
  try {
    Journal.claim(path);
  } catch {
    // Whatever is wrong with it is what the repair is for.
  }
}

/** Whether it holds together, and holds what the ledger has of it. */
function isSound(path: string, known: readonly JournalLine[]): boolean {
  try {
    const { lines } = Journal.open(path);
    return known.every((line, at) => canonicalize(line) === canonicalize(lines[at] ?? {}));
  } catch {
    return false;
  }
}

/** What the ledger holds of the journal. Where it cannot be asked, the file alone is repaired. */
async function readLedger(
  folder: DataFolder,
  environment: Environment,
  pieces: readonly (string | null)[],
): Promise<{ lines: JournalLine[]; trouble: string | null }> {
  const stream = ownStream(folder.root);
  if (stream === null) return { lines: [], trouble: null };
  try {
    const store = await Store.open({
      folder: folder.postgres,
      headsFolder: folder.ledger,
      databaseUrl: Settings.of(folder.root, environment).switchDatabaseUrl,
    });
    try {
      const lines: JournalLine[] = [];
      for await (const { bytes } of store.readStream(INSTALLATION_LOG, stream)) {
        const entry = parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "journal entry");
        const { journal, ...data } = parseFormat(anchored, entry.data, "journal entry");
        const { timestamp: at, event_type: event } = entry;
        const line = { ...journal, at, event, data: data as JsonObject };
        lines.push(wholeLine(line, pieces) ?? line);
      }
      return { lines, trouble: null };
    } finally {
      await store.close();
    }
  } catch (error) {
    const why = error instanceof Error ? error.message : "unknown";
    return { lines: [], trouble: `the ledger could not be asked: ${why}` };
  }
}

/** The ledger has no more than the digest of a line that was too long for it: the file may have it. */
function wholeLine(line: JournalLine, pieces: readonly (string | null)[]): JournalLine | null {
  const digest = line.data["line_digest"];
  if (typeof digest !== "string") return null;
  for (const piece of pieces) {
    if (piece?.includes(line.previous_hash) !== true) continue;
    const { lines } = repairJournal([piece], [], line.at);
    const found = lines.at(-1);
    if (found?.sequence === line.sequence && digestOf(found.data) === digest) return found;
  }
  return null;
}

/** @returns where what stood there is kept */
function replaceJournal(
  path: string,
  repair: JournalRepair,
  eventId: string,
  at: string,
): string | null {
  const aside = keepAside(path);
  const sha256 = aside !== null && ownsFile(aside) ? digestAt(aside) : null;
  const fresh = `${path}.repaired`;
  removeAt(fresh);
  const file = openOwnFile(fresh, "create");
  try {
    for (const line of repair.lines) writeSync(file, `${canonicalize(line)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  const journal = Journal.open(fresh);
  const kept = aside === null ? null : { name: basename(aside), sha256 };
  journal.append("journal.repaired", at, repairStatement(repair, eventId, kept));
  for (const line of repair.salvaged) {
    const { nonce } = line.data;
    // What was used once stays used.
    const used = typeof nonce === "string" ? { nonce } : {};
    journal.append("journal.salvaged", at, { line: { ...line }, ...used });
  }
  renameSync(fresh, path);
  const folder = openSync(join(path, ".."), "r");
  fsyncSync(folder);
  closeSync(folder);
  return aside === null ? null : basename(aside);
}

/** A file keeps its place until the new one takes it; all else is moved. */
function keepAside(path: string): string | null {
  if (!ownsFile(path)) return putAside(path);
  for (let number = 1; ; number++) {
    const aside = `${path}.damaged-${number}`;
    if (kindAt(aside) !== null) continue;
    try {
      linkSync(path, aside);
    } catch {
      // The system links no file of another user: then it is moved.
      return putAside(path);
    }
    return aside;
  }
}

/** Null for what cannot be read: it is kept all the same. */
function digestAt(path: string): string | null {
  try {
    const bytes = readOwnFile(path, JOURNAL_BYTES_MAX);
    return bytes === null ? null : sha256Hex(bytes);
  } catch {
    return null;
  }
}

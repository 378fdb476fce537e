import {
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  readSync,
  type Stats,
  writeSync,
} from "node:fs";
import {
  canonicalize,
  fields,
  GENESIS_HASH,
  isSovereignError,
  type JsonObject,
  parseCanonicalJson,
  parseFormat,
  sha256Hex,
  SovereignError,
  utf8Encode,
  fixClass,
} from "@sovereign/core";
import { z } from "zod";
import { kindAt, makeOwnWritable, openOwnFile } from "../system/index.ts";

/** More than any journal has; what lies beyond is no journal. */
export const JOURNAL_BYTES_MAX = 1024 * 1024 * 1024;
/** Longer than any line. */
const BLOCK_BYTES = 4 * 1024 * 1024;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** Stands in place of a line that could not be read any more, so that the others keep their place. */
export const LOST_LINE = "journal.lost";

const journalLine = z.strictObject({
  sequence: fields.count,
  at: fields.timestamp,
  event: fields.eventType,
  data: fields.jsonObject,
  previous_hash: fields.digest,
});
/** One line: what happened to the kill switch, chained to the line before. */
export type JournalLine = z.infer<typeof journalLine>;

/** @throws what is wrong with it, when it is no line of a journal */
export function parseJournalLine(text: string): JournalLine {
  return parseFormat(journalLine, parseCanonicalJson(utf8Encode(text)), "journal line");
}

/** Whether a line may follow a head: a line that was lost says what the next one follows. */
export function follows(line: JournalLine, before: JournalLine | undefined, head: string): boolean {
  if (line.previous_hash === head) return true;
  return before?.event === LOST_LINE && before.data["resumes"] === line.previous_hash;
}

/**
 * The sentinel's own append-only log. It needs no database, so that a stop is recorded while the
 * database is down; the ledger takes its lines in later, one entry a line.
 *
 * A line is canonical JSON; `previous_hash` is the SHA-256 of the line before, without its end.
 */
export class Journal {
  readonly path: string;
  readonly #lines: JournalLine[] = [];
  /** The same for others, made when they ask. */
  #view: readonly JournalLine[] | null = null;
  #head = GENESIS_HASH;
  /** Where the last whole line ends. */
  #bytes = 0;
  /** How long the file was when it was read or written last. */
  #size = 0;
  /** Which file it was: another in its place is none of ours. */
  #file: string | null = null;

  private constructor(path: string) {
    this.path = path;
    Object.freeze(this);
  }

  /**
   * Read a journal, checking its chain. A last line without an end was never acknowledged, and is
   * cut off by the next append.
   *
   * @throws ERR_SCRAM_JOURNAL_INVALID also where no plain file of ours stands there
   */
  static open(path: string): Journal {
    const journal = new Journal(path);
    journal.refresh();
    return journal;
  }

  /**
   * The same for whoever holds the folder's lock, and is to write to it: what keeps others from writing
   * is taken away first, where that can be.
   */
  static claim(path: string): Journal {
    try {
      makeOwnWritable(path, JOURNAL_BYTES_MAX);
    } catch (error) {
      throw new Journal(path).#invalid(`cannot be made ours: ${messageOf(error)}`, error);
    }
    return Journal.open(path);
  }

  /**
   * Take in what another process appended since, without reading the rest again.
   * @throws ERR_SCRAM_JOURNAL_INVALID also where it is shorter than it was
   */
  refresh(): void {
    const file = this.#open();
    if (file === null) {
      if (this.#bytes > 0) throw this.#invalid("is missing: the file is shorter than it was");
      return;
    }
    try {
      const found = fstatSync(file);
      if (found.size < this.#bytes) {
        throw this.#invalid("is missing: the file is shorter than it was");
      }
      let lines: string[];
      do {
        lines = this.#read(file, found.size);
        for (const line of lines) this.#accept(line);
      } while (lines.length > 0);
      this.#size = found.size;
      this.#file = nameOf(found);
    } finally {
      closeSync(file);
    }
  }

  /** As they were read: whoever holds them takes none away, and adds none. */
  get lines(): readonly JournalLine[] {
    this.#view ??= Object.freeze([...this.#lines]);
    return this.#view;
  }

  /** The hash of the last line. */
  get head(): string {
    return this.#head;
  }

  /** Whether it had this many lines once, with that head. */
  holds(lines: number, head: string): boolean {
    if (lines > this.#lines.length) return false;
    return (this.#lines[lines]?.previous_hash ?? this.#head) === head;
  }

  /** Whether the file is as we left it: nobody else writes to it, removes it or puts another there. */
  get untouched(): boolean {
    try {
      const file = this.#open();
      if (file === null) return this.#file === null;
      try {
        const found = fstatSync(file);
        return this.#file === nameOf(found) && this.#size === found.size;
      } finally {
        closeSync(file);
      }
    } catch {
      return false;
    }
  }

  /**
   * Append a line; durable when this returns.
   * @throws ERR_SCRAM_UNWRITABLE, and ERR_SCRAM_JOURNAL_INVALID where another writes to it, too
   */
  append(event: string, at: string, data: JsonObject): JournalLine {
    this.#takeBack();
    // Whoever wrote meanwhile is read first: their lines stay, and ours follow them.
    if (!this.untouched) this.refresh();
    const line: JournalLine = {
      sequence: this.#lines.length,
      at,
      event,
      data,
      previous_hash: this.#head,
    };
    const text = canonicalize(line);
    try {
      this.#write(utf8Encode(`${text}\n`));
    } catch (cause) {
      if (isSovereignError(cause, "ERR_SCRAM_JOURNAL_INVALID")) throw cause;
      const why = cause instanceof Error ? cause.message : "unknown";
      const message = `Cannot write the sentinel's journal ${this.path}: ${why}.`;
      throw new SovereignError("ERR_SCRAM_UNWRITABLE", message, { path: this.path }, cause);
    }
    this.#keep(line, text);
    return line;
  }

  /**
   * What came meanwhile and keeps us from writing to our own file is taken away: rights that were
   * taken, or a second name. Else a stop would be carried out, and could not be recorded.
   */
  #takeBack(): void {
    try {
      if (this.#file === null || this.#file !== this.#nameNow()) return;
      makeOwnWritable(this.path, JOURNAL_BYTES_MAX);
      this.#file = this.#nameNow();
    } catch {
      // Whoever writes next says what is wrong.
    }
  }

  #nameNow(): string | null {
    const found = lstatSync(this.path, { throwIfNoEntry: false });
    return found === undefined ? null : nameOf(found);
  }

  /** At the end, where the last whole line ends: half a line of a crash is cut off first. */
  #write(bytes: Uint8Array): void {
    if (bytes.length >= BLOCK_BYTES) throw new Error(`the line has ${bytes.length} bytes`);
    const file = openOwnFile(this.path, "append");
    try {
      const found = fstatSync(file);
      const same = this.#file === null ? found.size === 0 : this.#file === nameOf(found);
      if (!same || found.size !== this.#size) throw this.#invalid("is by another writer");
      if (this.#size > this.#bytes) ftruncateSync(file, this.#bytes);
      this.#size = this.#bytes;
      this.#file = nameOf(found);
      const written = writeSync(file, bytes);
      if (written < bytes.length) {
        // Half a line says nothing: the disk is full.
        ftruncateSync(file, this.#bytes);
        throw new Error("no space is left");
      }
      this.#size += written;
      fsyncSync(file);
      // One who wrote in the same moment has a line of the same place.
      if (fstatSync(file).size !== this.#size) throw this.#invalid("is by another writer");
    } finally {
      closeSync(file);
    }
  }

  /** Null where nothing stands there. */
  #open(): number | null {
    try {
      return kindAt(this.path) === null ? null : openOwnFile(this.path, "read");
    } catch (error) {
      if (!isSovereignError(error) && !isForbidden(error)) throw error;
      throw this.#invalid(`cannot be read: ${messageOf(error)}`, error);
    }
  }

  /** The next whole lines, some megabytes of them at most; none at the end. */
  #read(file: number, size: number): string[] {
    const block = Buffer.alloc(Math.min(BLOCK_BYTES, size - this.#bytes));
    const read = block.subarray(0, readSync(file, block, 0, block.length, this.#bytes));
    const end = read.lastIndexOf("\n") + 1;
    if (end === 0 && read.length === BLOCK_BYTES) throw this.#invalid("is longer than any line");
    try {
      return UTF8.decode(read.subarray(0, end)).split("\n").slice(0, -1);
    } catch (cause) {
      throw this.#invalid("or one after it is not UTF-8", cause);
    }
  }

  #accept(text: string): void {
    let line: JournalLine;
    try {
      line = parseJournalLine(text);
    } catch (cause) {
      throw this.#invalid("is not a line of a journal", cause);
    }
    if (line.sequence !== this.#lines.length) throw this.#invalid("is out of order");
    if (!follows(line, this.#lines.at(-1), this.#head)) {
      throw this.#invalid("does not follow the one before");
    }
    this.#keep(line, text);
  }

  #keep(line: JournalLine, text: string): void {
    const bytes = utf8Encode(text);
    this.#lines.push(Object.freeze(line));
    this.#view = null;
    this.#head = sha256Hex(bytes);
    this.#bytes += bytes.length + 1;
  }

  #invalid(what: string, cause?: unknown): SovereignError {
    const text = `${this.path}: line ${this.#lines.length + 1} ${what}. Everything is stopped until it is repaired, which keeps every line that can be read: sovereign scram repair`;
    return new SovereignError("ERR_SCRAM_JOURNAL_INVALID", text, { path: this.path }, cause);
  }
}

fixClass(Journal);

function nameOf({ dev, ino }: Stats): string {
  return `${dev}:${ino}`;
}

function isForbidden(error: unknown): boolean {
  return ["EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : "unknown";
}

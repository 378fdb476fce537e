import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import {
  canonicalize,
  fields,
  GENESIS_HASH,
  type JsonObject,
  parseCanonicalJson,
  parseFormat,
  sha256Hex,
  SovereignError,
  utf8Encode,
} from "@sovereign/core";
import { z } from "zod";

/** Longer than any line. */
const BLOCK_BYTES = 4 * 1024 * 1024;

const journalLine = z.strictObject({
  sequence: fields.count,
  at: fields.timestamp,
  event: fields.eventType,
  data: fields.jsonObject,
  previous_hash: fields.digest,
});
/** One line: what happened to the kill switch, chained to the line before. */
export type JournalLine = z.infer<typeof journalLine>;

/**
 * The sentinel's own append-only log. It needs no database, so that a stop is recorded while the
 * database is down; the ledger takes its lines in later, one entry a line.
 *
 * A line is canonical JSON; `previous_hash` is the SHA-256 of the line before, without its end.
 */
export class Journal {
  readonly path: string;
  readonly #lines: JournalLine[] = [];
  #head = GENESIS_HASH;
  /** Where the last whole line ends. */
  #bytes = 0;

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Read a journal, checking its chain. A last line without an end was never acknowledged, and is
   * cut off by the next append.
   *
   * @throws ERR_SCRAM_JOURNAL_INVALID
   */
  static open(path: string): Journal {
    const journal = new Journal(path);
    journal.refresh();
    return journal;
  }

  /**
   * Take in what another process appended since, without reading the rest again.
   * @throws ERR_SCRAM_JOURNAL_INVALID also where it is shorter than it was
   */
  refresh(): void {
    const size = statSync(this.path, { throwIfNoEntry: false })?.size ?? 0;
    if (size < this.#bytes) throw this.#invalid("is missing: the file is shorter than it was");
    if (size === this.#bytes) return;
    const file = openSync(this.path, "r");
    try {
      let lines: string[];
      do {
        lines = this.#read(file, size);
        for (const line of lines) this.#accept(line);
      } while (lines.length > 0);
    } finally {
      closeSync(file);
    }
  }

  get lines(): readonly JournalLine[] {
    return this.#lines;
  }

  /** The hash of the last line. */
  get head(): string {
    return this.#head;
  }

  /**
   * Append a line; durable when this returns.
   * @throws ERR_SCRAM_UNWRITABLE
   */
  append(event: string, at: string, data: JsonObject): JournalLine {
    const line: JournalLine = {
      sequence: this.#lines.length,
      at,
      event,
      data,
      previous_hash: this.#head,
    };
    const text = canonicalize(line);
    try {
      this.#write(`${text}\n`);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : "unknown";
      const message = `Cannot write the sentinel's journal ${this.path}: ${why}.`;
      throw new SovereignError("ERR_SCRAM_UNWRITABLE", message, { path: this.path }, cause);
    }
    this.#keep(line, text);
    return line;
  }

  /** At the place where the last whole line ends: half a line of a crash is overwritten. */
  #write(text: string): void {
    const file = openSync(this.path, existsSync(this.path) ? "r+" : "wx", 0o600);
    try {
      writeSync(file, text, this.#bytes);
      ftruncateSync(file, this.#bytes + Buffer.byteLength(text));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  /** The next whole lines, some megabytes of them at most; none at the end. */
  #read(file: number, size: number): string[] {
    const block = Buffer.alloc(Math.min(BLOCK_BYTES, size - this.#bytes));
    const read = block.subarray(0, readSync(file, block, 0, block.length, this.#bytes));
    return read
      .toString("utf8", 0, read.lastIndexOf("\n") + 1)
      .split("\n")
      .slice(0, -1);
  }

  #accept(text: string): void {
    let line: JournalLine;
    try {
      line = parseFormat(journalLine, parseCanonicalJson(utf8Encode(text)), "journal line");
    } catch (cause) {
      throw this.#invalid("is not a line of a journal", cause);
    }
    if (line.sequence !== this.#lines.length) throw this.#invalid("is out of order");
    if (line.previous_hash !== this.#head) throw this.#invalid("does not follow the one before");
    this.#keep(line, text);
  }

  #keep(line: JournalLine, text: string): void {
    const bytes = utf8Encode(text);
    this.#lines.push(line);
    this.#head = sha256Hex(bytes);
    this.#bytes += bytes.length + 1;
  }

  #invalid(what: string, cause?: unknown): SovereignError {
    const text = `${this.path}: line ${this.#lines.length + 1} ${what}. Keep the file, and look into it.`;
    return new SovereignError("ERR_SCRAM_JOURNAL_INVALID", text, { path: this.path }, cause);
  }
}

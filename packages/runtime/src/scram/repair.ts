import { closeSync, fstatSync, readSync } from "node:fs";
import {
  canonicalize,
  GENESIS_HASH,
  type JsonObject,
  sha256Hex,
  utf8Encode,
} from "@sovereign/core";
import { kindAt, openOwnFile } from "../system/index.ts";
import {
  follows,
  JOURNAL_BYTES_MAX,
  type JournalLine,
  LOST_LINE,
  parseJournalLine,
} from "./journal.ts";

const BLOCK_BYTES = 4 * 1024 * 1024;
/** So many lines in a row may be lost and keep their places; with more, the count itself is in doubt. */
const GAP_MAX = 100_000;

/** What a repair found, and what it makes of it. */
export interface JournalRepair {
  /** The journal as it is to be, without the statement about its repair. */
  readonly lines: readonly JournalLine[];
  /** Lines that could be read and have no place in the chain: they are kept beside it. */
  readonly salvaged: readonly JournalLine[];
  /** How many places in the journal have no line any more. */
  readonly lost: number;
  /** How many pieces of the file were no lines. */
  readonly unreadable: number;
  /** How many lines came from the ledger, because the file had them no more. */
  readonly fromLedger: number;
}

/**
 * Make a journal of what can still be read of a damaged one.
 *
 * Every line keeps its place, since the ledger names lines by their places. In the place of a line that
 * is gone stands one that says so, and what the next one follows. A line that can be read and fits
 * nowhere, such as an altered one or a second writer's, is kept beside the chain.
 *
 * @param texts the file's lines, untrusted
 * @param known what the ledger holds of the journal, from its first line on
 * @param at when this is, for the lines that say that one is lost
 */
export function repairJournal(
  texts: readonly (string | null)[],
  known: readonly JournalLine[],
  at: string,
): JournalRepair {
  const chain = new Chain(at);
  for (const line of known) chain.take(line);
  chain.keepWhatIsThere();
  const fromLedger = chain.lines.length;
  let unreadable = 0;
  let inFile = 0;
  for (const text of texts) {
    const line = text === null ? null : readLine(text);
    if (line === null) unreadable += 1;
    else if (chain.has(line)) inFile += 1;
    else chain.take(line);
  }
  const { lines, salvaged, lost } = chain;
  return { lines, salvaged, lost, unreadable, fromLedger: fromLedger - inFile };
}

class Chain {
  readonly lines: JournalLine[] = [];
  readonly salvaged: JournalLine[] = [];
  readonly #at: string;
  #head = GENESIS_HASH;
  #kept = 0;
  lost = 0;

  constructor(at: string) {
    this.#at = at;
  }

  /** The ledger's lines are the truth: nothing that a file says takes one of them away. */
  keepWhatIsThere(): void {
    this.#kept = this.lines.length;
  }

  has(line: JournalLine): boolean {
    const own = this.lines[line.sequence];
    return own !== undefined && canonicalize(own) === canonicalize(line);
  }

  take(line: JournalLine): void {
    const next = this.lines.length;
    if (line.sequence < next || line.sequence > next + GAP_MAX) {
      this.salvaged.push(line);
      return;
    }
    if (line.sequence > next) {
      this.#lose(line.sequence - next, line.previous_hash);
    } else if (!follows(line, this.lines.at(-1), this.#head)) {
      if (next > 0 && next <= this.#kept) {
        this.salvaged.push(line);
        return;
      }
      // This one knows the true hash of the one before: that one was altered.
      const altered = this.lines.pop();
      if (altered !== undefined) this.salvaged.push(altered);
      this.#head = this.#hashBefore();
      this.#lose(altered === undefined ? 0 : 1, line.previous_hash);
      if (altered === undefined) {
        this.salvaged.push(line);
        return;
      }
    }
    this.#put(line);
  }

  #lose(count: number, resumes: string): void {
    for (let left = count; left > 0; left--) {
      this.#put({
        sequence: this.lines.length,
        at: this.#at,
        event: LOST_LINE,
        data: left === 1 ? { resumes } : {},
        previous_hash: this.#head,
      });
      this.lost += 1;
    }
  }

  #put(line: JournalLine): void {
    this.lines.push(line);
    this.#head = hashOf(line);
  }

  #hashBefore(): string {
    const last = this.lines.at(-1);
    return last === undefined ? GENESIS_HASH : hashOf(last);
  }
}

function hashOf(line: JournalLine): string {
  return sha256Hex(utf8Encode(canonicalize(line)));
}

function readLine(text: string): JournalLine | null {
  try {
    return parseJournalLine(text);
  } catch {
    return null;
  }
}

/**
 * The pieces between the ends of lines, whatever the file holds; null for one that is no text. None
 * where no plain file of ours stands there.
 */
export function readPieces(path: string): (string | null)[] {
  if (kindAt(path) === null) return [];
  let file: number;
  try {
    file = openOwnFile(path, "read");
  } catch {
    return [null];
  }
  try {
    const size = Math.min(fstatSync(file).size, JOURNAL_BYTES_MAX);
    const pieces: (string | null)[] = [];
    let rest = Buffer.alloc(0);
    for (let at = 0; at < size; ) {
      const block = Buffer.alloc(Math.min(BLOCK_BYTES, size - at));
      const read = readSync(file, block, 0, block.length, at);
      if (read === 0) break;
      at += read;
      rest = Buffer.concat([rest, block.subarray(0, read)]);
      for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
        pieces.push(textOf(rest.subarray(0, end)));
        rest = rest.subarray(end + 1);
      }
      // No line is so long.
      if (rest.length > BLOCK_BYTES) rest = Buffer.alloc(1);
    }
    // Half a line was never acknowledged; it is lost, and said to be.
    return rest.length === 0 ? pieces : [...pieces, null];
  } finally {
    closeSync(file);
  }
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** What is said in the journal about its repair, and of each line that is kept beside the chain. */
export function repairStatement(
  repair: JournalRepair,
  eventId: string,
  aside: { readonly name: string; readonly sha256: string | null } | null,
): JsonObject {
  const { lines, salvaged, lost, unreadable, fromLedger } = repair;
  return {
    event_id: eventId,
    kept: lines.length - lost,
    lost,
    unreadable,
    salvaged: salvaged.length,
    from_ledger: fromLedger,
    aside: aside === null ? null : { ...aside },
  };
}

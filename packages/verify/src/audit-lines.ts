import {
  concatBytes,
  ENTRY_BYTES_MAX,
  formats,
  HASH_BYTES,
  hexDecode,
  leafHash,
  type PlacedEntry,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
  sha256Hex,
} from "@sovereign/core";
import { expectEqual, failureOf } from "./step-recorder.ts";

/** A line is an entry with its place; a longer one cannot be one. */
export const LINE_BYTES_MAX = 128 * 1024;

/** The numbers of a line: its index, and its sequence number in its stream. */
export const NUMBERS_OF_LINE = 2;
/** The hashes of a line: its own, that of the entry before in its stream, and its Merkle leaf. */
export const HASHES_OF_LINE = 3 * HASH_BYTES;

/**
 * What stands in some lines of an audit file, as far as each line says it alone. It is flat, so that
 * it goes from one thread to another without being copied.
 */
export interface JudgedLines {
  /** How many lines hold: those before the first that does not. */
  readonly count: number;
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly hashes: Uint8Array<ArrayBuffer>;
  /** The stream of each line, as a place in `streams`. */
  readonly streamOf: Uint32Array<ArrayBuffer>;
  readonly streams: readonly string[];
  /** Why the line behind them does not hold; null where all do. */
  readonly failure: { readonly code: string; readonly message: string } | null;
}

/**
 * Cut a file into batches of whole lines. Only LF ends a line: JSON may hold U+2028, which some
 * readers of lines take for an end too.
 *
 * @param chunks untrusted, of any sizes
 * @throws ERR_VERIFY_INVALID behind the last whole line, where a line is longer than it may be
 */
export async function* batchesOf(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let rest = new Uint8Array();
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(LF) + 1;
    if (end > 0) {
      const batch = joined(rest, chunk.subarray(0, end));
      rest = new Uint8Array();
      yield batch;
    }
    if (rest.length + chunk.length - end > LINE_BYTES_MAX) throw tooLong();
    rest = joined(rest, chunk.subarray(end));
  }
  if (rest.length > 0) yield rest;
}

/**
 * Judge each line by itself: canonical JSON of the form of an entry, of the size that it may have,
 * with the hash that it says. Chains, order and the tree need the lines before.
 *
 * @param batch untrusted: whole lines
 */
export function judgeLines(batch: Uint8Array): JudgedLines {
  const rows = new Rows(linesIn(batch));
  try {
    for (let from = 0; from < batch.length; ) {
      const at = batch.indexOf(LF, from);
      const end = at < 0 ? batch.length : at;
      rows.add(batch.subarray(from, end));
      from = end + 1;
    }
  } catch (error) {
    return rows.done(failureOf(error));
  }
  return rows.done(null);
}

class Rows {
  readonly #numbers: Float64Array<ArrayBuffer>;
  readonly #hashes: Uint8Array<ArrayBuffer>;
  readonly #streamOf: Uint32Array<ArrayBuffer>;
  readonly #streams = new Map<string, number>();
  #count = 0;

  constructor(lines: number) {
    this.#numbers = new Float64Array(lines * NUMBERS_OF_LINE);
    this.#hashes = new Uint8Array(lines * HASHES_OF_LINE);
    this.#streamOf = new Uint32Array(lines);
  }

  add(line: Uint8Array): void {
    if (line.length > LINE_BYTES_MAX) throw tooLong();
    const value = parseCanonicalJson(line);
    const placed = parseFormat(formats.placedEntry, value, "entry", "ERR_VERIFY_INVALID");
    const { index, hash, entry } = placed;
    const bytes = entryBytesOf(line, placed);
    if (bytes.length > ENTRY_BYTES_MAX) {
      const text = `The entry has ${bytes.length} bytes; at most ${ENTRY_BYTES_MAX} are recorded.`;
      throw new SovereignError("ERR_VERIFY_INVALID", text);
    }
    expectEqual(sha256Hex(bytes), hash, "The hash");
    this.#numbers.set([index, entry.sequence], this.#count * NUMBERS_OF_LINE);
    const at = this.#count * HASHES_OF_LINE;
    this.#hashes.set(hexDecode(hash), at);
    this.#hashes.set(hexDecode(entry.previous_hash), at + HASH_BYTES);
    this.#hashes.set(leafHash(bytes), at + 2 * HASH_BYTES);
    const stream = this.#streams.get(entry.stream) ?? this.#streams.size;
    this.#streams.set(entry.stream, stream);
    this.#streamOf[this.#count] = stream;
    this.#count += 1;
  }

  done(failure: JudgedLines["failure"]): JudgedLines {
    return {
      count: this.#count,
      numbers: this.#numbers,
      hashes: this.#hashes,
      streamOf: this.#streamOf,
      streams: [...this.#streams.keys()],
      failure,
    };
  }
}

/**
 * The hashed bytes of an entry. The line is canonical, and its names in their order are entry,
 * hash, index: so they stand in it as they are, and need not be written again.
 */
function entryBytesOf(line: Uint8Array, { hash, index }: PlacedEntry): Uint8Array {
  const behind = `,"hash":"${hash}","index":${index}}`;
  return line.subarray('{"entry":'.length, line.length - behind.length);
}

const LF = 0x0a;

function linesIn(batch: Uint8Array): number {
  let lines = 1;
  for (let at = batch.indexOf(LF); at >= 0; at = batch.indexOf(LF, at + 1)) lines += 1;
  return lines;
}

function joined(rest: Uint8Array, more: Uint8Array): Uint8Array<ArrayBuffer> {
  return concatBytes(rest, more) as Uint8Array<ArrayBuffer>;
}

function tooLong(): SovereignError {
  return new SovereignError("ERR_VERIFY_INVALID", `A line of more than ${LINE_BYTES_MAX} bytes.`);
}

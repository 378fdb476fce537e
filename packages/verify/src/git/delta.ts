import { OBJECT_BYTES_MAX } from "./budget.ts";
import { corrupt, tooMuch } from "./git-problem.ts";

/**
 * Apply git's delta to the bytes that it is relative to.
 *
 * @param delta untrusted: two sizes, then copies from the base and new bytes
 * @param spend told of the result's size before it is made
 * @throws ERR_GIT_OBJECT_CORRUPT
 */
export function applyDelta(
  base: Uint8Array,
  delta: Uint8Array,
  spend: (bytes: number) => void,
): Uint8Array {
  const cursor = new Cursor(delta);
  if (cursor.size() !== base.length) throw corrupt("a delta is relative to something else");
  const size = cursor.size();
  spend(size);
  const result = new Uint8Array(size);
  let at = 0;
  while (!cursor.atEnd) {
    const piece = nextPiece(cursor, base);
    if (at + piece.length > size) throw corrupt("a delta gives more than it says");
    result.set(piece, at);
    at += piece.length;
  }
  if (at !== size) throw corrupt("a delta gives less than it says");
  return result;
}

function nextPiece(cursor: Cursor, base: Uint8Array): Uint8Array {
  const code = cursor.byte();
  if (code === 0) throw corrupt("a delta has an instruction that nobody defined");
  if ((code & 0x80) === 0) return cursor.bytes(code);
  const from = cursor.packed(code, [0x01, 0x02, 0x04, 0x08]);
  const length = cursor.packed(code, [0x10, 0x20, 0x40]) || 0x10000;
  if (from + length > base.length) throw corrupt("a delta copies from behind its base's end");
  return base.subarray(from, from + length);
}

class Cursor {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw corrupt("a delta ends too early");
    this.#at += 1;
    return byte;
  }

  bytes(length: number): Uint8Array {
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    if (bytes.length < length) throw corrupt("a delta ends too early");
    this.#at += length;
    return bytes;
  }

  /** Seven bits a byte, the lowest first. */
  size(): number {
    let size = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.byte();
      size += (byte & 0x7f) * factor;
      if (size > OBJECT_BYTES_MAX)
        throw tooMuch(`a delta of objects above ${OBJECT_BYTES_MAX} bytes`);
      if ((byte & 0x80) === 0) return size;
      if (factor > OBJECT_BYTES_MAX) throw corrupt("a delta has a size that does not end");
    }
  }

  /** The bytes whose bits are set, the lowest first. */
  packed(code: number, bits: readonly number[]): number {
    let value = 0;
    let factor = 1;
    for (const bit of bits) {
      if ((code & bit) !== 0) value += this.byte() * factor;
      factor *= 256;
    }
    return value;
  }
}

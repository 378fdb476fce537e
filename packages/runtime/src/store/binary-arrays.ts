/**
 * PostgreSQL's binary form of arrays. Arrays that travel as text are quoted, sent, and parsed
 * element by element on the other side; these are copied. The driver sends any `Buffer` as binary.
 * @see src/backend/utils/adt/arrayfuncs.c `array_recv` of PostgreSQL
 */
const OID = { bytea: 17, bigint: 20, int: 23, text: 25 } as const;
const HEADER_BYTES = 20;
const TWO_32 = 0x1_0000_0000;

/** An `int[]`. */
export function intArray(values: readonly number[]): Buffer {
  const buffer = startArray(OID.int, values.length, values.length * 8);
  let at = HEADER_BYTES;
  for (const value of values) {
    at = buffer.writeInt32BE(4, at);
    at = buffer.writeInt32BE(value, at);
  }
  return buffer;
}

/** A `bigint[]` of integers from 0 to 2^53 - 1. */
export function bigintArray(values: readonly number[]): Buffer {
  const buffer = startArray(OID.bigint, values.length, values.length * 12);
  let at = HEADER_BYTES;
  for (const value of values) {
    at = buffer.writeInt32BE(8, at);
    at = buffer.writeInt32BE(Math.floor(value / TWO_32), at);
    at = buffer.writeUInt32BE(value % TWO_32, at);
  }
  return buffer;
}

/** A `text[]`. */
export function textArray(values: readonly string[]): Buffer {
  // UTF-8 takes at most three bytes for each UTF-16 unit; what is not used is cut off.
  const most = values.reduce((sum, value) => sum + 4 + value.length * 3, 0);
  const buffer = startArray(OID.text, values.length, most);
  let at = HEADER_BYTES;
  for (const value of values) {
    const length = buffer.write(value, at + 4);
    buffer.writeInt32BE(length, at);
    at += 4 + length;
  }
  return buffer.subarray(0, at);
}

/** A `bytea[]`. */
export function bytesArray(values: readonly Uint8Array[]): Buffer {
  const size = values.reduce((sum, value) => sum + 4 + value.length, 0);
  const buffer = startArray(OID.bytea, values.length, size);
  let at = HEADER_BYTES;
  for (const value of values) {
    at = buffer.writeInt32BE(value.length, at);
    buffer.set(value, at);
    at += value.length;
  }
  return buffer;
}

/** Dimensions, no nulls, the elements' type, their number, and that they count from 1. */
function startArray(oid: number, count: number, bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(HEADER_BYTES + bytes);
  buffer.writeInt32BE(1, 0);
  buffer.writeInt32BE(0, 4);
  buffer.writeInt32BE(oid, 8);
  buffer.writeInt32BE(count, 12);
  buffer.writeInt32BE(1, 16);
  return buffer;
}

import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import {
  concatBytes,
  hexDecode,
  isSovereignError,
  type PublicKey,
  parsePublicKey,
  utf8Encode,
} from "@sovereign/core";
import { checkSignatureOn } from "../../src/ed25519/ed25519.ts";
import type { Platform } from "../../src/platform/platform.ts";

/**
 * Signatures where implementations part ways: keys and nonces with a component of small order, alone
 * or beside another; encodings that are not reduced; the sign of an x that is 0; S at its bounds.
 */

const { Point } = ed25519;
const L = Point.Fn.ORDER;
const P = 2n ** 255n - 19n;
const TORSION = Point.fromBytes(
  hexDecode("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
);
const SIGN = 2n ** 255n;
const S_BOUNDS = [0n, 1n, L - 1n, L, L + 1n, 2n * L - 1n, 2n ** 252n, 2n ** 253n, 2n ** 256n - 1n];

const number = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
const bytesOf = (value: bigint): Uint8Array =>
  Uint8Array.from({ length: 32 }, (_, at) => Number((value >> BigInt(8 * at)) & 255n));

export interface EdgeCase {
  readonly key: Uint8Array;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/** The case of that number, the same each time. */
export function edgeCase(index: number): EdgeCase {
  const message = utf8Encode(`message ${index}`);
  const [i, j] = [index % 8, (index >> 3) % 8];
  const secret = BigInt(1 + ((index >> 6) % 5));
  const nonce = BigInt((index >> 8) % 7);
  const key = Point.BASE.multiplyUnsafe(secret).add(TORSION.multiplyUnsafe(BigInt(i)));
  // With a nonce of 0, R has a small order.
  const point = Point.BASE.multiplyUnsafe(nonce).add(TORSION.multiplyUnsafe(BigInt(j)));
  const encodedKey = key.toBytes();
  const encodedNonce = spelling(point.toBytes(), index % 13);
  const k = number(sha512(concatBytes(encodedNonce, encodedKey, message))) % L;
  const good = (nonce + k * secret) % L;
  const s = index % 11 === 0 ? (S_BOUNDS[(index >> 4) % S_BOUNDS.length] ?? 0n) : good;
  const raised = index % 17 === 0 ? s + L : s;
  const signature = concatBytes(encodedNonce, bytesOf(raised));
  return { key: encodedKey, message, signature };
}

/** Some are written in a second way: y + p where it fits, the other sign, or both. */
function spelling(bytes: Uint8Array, way: number): Uint8Array {
  const value = number(bytes);
  const y = value % SIGN;
  if (way === 1 && y < 19n) return bytesOf(value + P);
  if (way === 2) return bytesOf(value ^ SIGN);
  if (way === 3 && y < 19n) return bytesOf((value + P) ^ SIGN);
  return bytes;
}

export interface Agreement {
  readonly cases: number;
  readonly accepted: number;
  /** Those whose key may be used at all. */
  readonly asked: number;
  readonly differ: readonly number[];
}

/** Judge the same cases by the one rule over either platform. */
export function comparePlatforms(
  [left, right]: readonly [Platform, Platform],
  from: number,
  count: number,
): Agreement {
  const differ: number[] = [];
  let accepted = 0;
  let asked = 0;
  for (let index = from; index < from + count; index++) {
    const { key, message, signature } = edgeCase(index);
    const read = keyOf(key);
    if (read === null) continue;
    asked += 1;
    const [one, other] = [left, right].map((over) =>
      checkSignatureOn(over, read, message, signature),
    );
    if (one === true) accepted += 1;
    if (one !== other) differ.push(index);
  }
  return { cases: count, accepted, asked, differ };
}

function keyOf(key: Uint8Array): PublicKey | null {
  try {
    return parsePublicKey(key);
  } catch (error) {
    if (isSovereignError(error, "ERR_KEY_MALFORMED")) return null;
    throw error;
  }
}

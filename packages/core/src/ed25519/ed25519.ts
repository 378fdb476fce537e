import { platform } from "#platform";
import { concatBytes, equalBytes, hexDecode } from "../bytes/index.ts";
import { sha256Hex } from "../digest/index.ts";
import { SovereignError } from "../errors/index.ts";
import type { Platform } from "../platform/platform.ts";

/**
 * An Ed25519 public key that may be used. Only {@link parsePublicKey} makes one. It is frozen, and its
 * bytes are copies: nobody who holds it can put another key in its place.
 */
export interface PublicKey {
  /** 32 bytes (RFC 8032 §5.1.5), a copy each time. */
  readonly raw: Uint8Array;
  /** 44 bytes: SubjectPublicKeyInfo (RFC 8410 §4), a copy each time. */
  readonly spki: Uint8Array;
  /** Lower-case hex SHA-256 of `spki`. */
  readonly keyId: string;
}

/** The power to sign with one key. */
export interface Signer {
  readonly publicKey: PublicKey;
  /** A 64-byte Ed25519 signature over the message. */
  sign(message: Uint8Array): Uint8Array;
}

const SPKI_PREFIX = hexDecode("302a300506032b6570032100");

/** p = 2^255 - 19 and the group's order L = 2^252 + …, as big integers. */
const P = 2n ** 255n - 19n;
const P_BYTES = littleEndianBytes(P);
const L_BYTES = littleEndianBytes(2n ** 252n + 27742317777372353535851937790883648493n);

/** The y of the points whose order divides 8, as they are encoded: 0, 1, -1, and two of order 8. */
const SMALL_ORDER_Y: readonly Uint8Array[] = [
  hexDecode("0000000000000000000000000000000000000000000000000000000000000000"),
  hexDecode("0100000000000000000000000000000000000000000000000000000000000000"),
  hexDecode("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
  hexDecode("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
  hexDecode("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
];

/** The curve's d = -121665/121666 mod p (RFC 8032 §5.1). */
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/** What was found to be on the curve: the few keys of an installation are read again and again. */
const onCurve = new Set<bigint>();
const ON_CURVE_MAX = 1024;

/**
 * Read a public key that is about to be enrolled or used.
 *
 * @param bytes untrusted; 32 raw bytes or 44 bytes of SPKI
 * @throws ERR_KEY_MALFORMED for another length, a y that is not reduced, what is no point of the
 *   curve, or a point of small order
 */
export function parsePublicKey(bytes: Uint8Array): PublicKey {
  // A copy: `slice` of a Buffer would share the caller's memory, which may change.
  const raw = new Uint8Array(bytes.length === 44 ? withoutPrefix(bytes) : bytes);
  if (raw.length !== 32) throw malformed(`expected 32 or 44 bytes, found ${bytes.length}`);
  const y = littleEndian(raw) & (2n ** 255n - 1n);
  if (y >= P) throw malformed("y is not reduced");
  if (isSmallOrder(raw)) throw malformed("the point has a small order");
  if (!onCurve.has(y)) {
    if (!isOnCurve(y)) throw malformed("not a point of the curve");
    if (onCurve.size >= ON_CURVE_MAX) onCurve.clear();
    onCurve.add(y);
  }
  const spki = concatBytes(SPKI_PREFIX, raw);
  return Object.freeze({
    keyId: sha256Hex(spki),
    get raw() {
      return new Uint8Array(raw);
    },
    get spki() {
      return new Uint8Array(spki);
    },
  });
}

/**
 * Whether the signature is good, by the rules of RFC 8032 without cofactor: canonical S, R and A,
 * neither R nor A of small order. The rule stands here and not in the platforms, which differ.
 *
 * @param signature untrusted; anything but 64 bytes is simply not a signature
 */
export function checkSignature(
  key: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  return checkSignatureOn(platform, key, message, signature);
}

/** The same over a given platform, to hold one against another. */
export function checkSignatureOn(
  over: Platform,
  key: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (signature.length !== 64) return false;
  // The highest bit of R is the sign of x, and no part of y.
  if (!isBelow(signature, 0, P_BYTES, 0x7f) || !isBelow(signature, 32, L_BYTES, 0xff)) return false;
  if (isSmallOrder(signature)) return false;
  return over.verifyEd25519(key.raw, message, signature);
}

/**
 * Whether the point that the first 32 bytes encode has an order that divides 8. With such a key one
 * signature is good for many messages, so it is no identity; and implementations part ways on such
 * an R. The highest bit is the sign of x, and no part of y.
 */
function isSmallOrder(bytes: Uint8Array): boolean {
  return SMALL_ORDER_Y.some((small) =>
    small.every((byte, at) => byte === ((bytes[at] as number) & (at === 31 ? 0x7f : 0xff))),
  );
}

/**
 * Whether the curve has a point with this y: x^2 = (y^2 - 1) / (d·y^2 + 1) must be a square, and a
 * quotient is one exactly when the product is. Not called for y = 1 and -1, where x is 0.
 */
function isOnCurve(y: bigint): boolean {
  const y2 = (y * y) % P;
  const z = ((y2 - 1n + P) * (D * y2 + 1n)) % P;
  // Euler's criterion: z^((p-1)/2) = 1, and (p-1)/2 = 2^254 - 10 = 16·(2^250 - 1) + 6.
  const z6 = (z * z * z) ** 2n % P;
  return (squared(allOnes(z, 250), 4) * z6) % P === 1n;
}

/** z^(2^bits - 1) mod p, by halves. */
function allOnes(z: bigint, bits: number): bigint {
  if (bits === 1) return z;
  const half = Math.floor(bits / 2);
  const low = allOnes(z, half);
  const both = (squared(low, half) * low) % P;
  return bits % 2 === 0 ? both : (((both * both) % P) * z) % P;
}

/** z^(2^times) mod p. */
function squared(z: bigint, times: number): bigint {
  let power = z;
  for (let time = 0; time < times; time++) power = (power * power) % P;
  return power;
}

/** Whether the 32 little-endian bytes at `at` are below the bound; `mask` is of the highest byte. */
function isBelow(bytes: Uint8Array, at: number, bound: Uint8Array, mask: number): boolean {
  for (let index = 31; index >= 0; index--) {
    const byte = (bytes[at + index] as number) & (index === 31 ? mask : 0xff);
    const limit = bound[index] as number;
    if (byte !== limit) return byte < limit;
  }
  return false;
}

function withoutPrefix(spki: Uint8Array): Uint8Array {
  if (!equalBytes(spki.subarray(0, 12), SPKI_PREFIX)) throw malformed("not an Ed25519 SPKI");
  return spki.subarray(12);
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let at = bytes.length - 1; at >= 0; at--) value = (value << 8n) | BigInt(bytes[at] ?? 0);
  return value;
}

function littleEndianBytes(value: bigint): Uint8Array {
  return hexDecode(value.toString(16).padStart(64, "0")).reverse();
}

function malformed(found: string): SovereignError {
  return new SovereignError("ERR_KEY_MALFORMED", `Not a usable Ed25519 public key: ${found}.`);
}

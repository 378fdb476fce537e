import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { concatBytes, equalBytes, utf8Encode } from "../bytes/index.ts";
import type { Platform } from "./platform.ts";

const { Point } = ed25519;

export const platform: Platform = {
  sha256: (bytes) => sha256(bytes),
  sha256Hex: (data) => bytesToHex(sha256(typeof data === "string" ? utf8Encode(data) : data)),
  verifyEd25519: (rawKey, message, signature) => {
    try {
      return equalBytes(nonceOf(rawKey, message, signature), signature.subarray(0, 32));
    } catch {
      // The library throws on a point that is not on the curve, and on S that is not below L.
      return false;
    }
  },
};

/**
 * The R that makes the signature good: S·B - k·A, encoded (RFC 8032 §5.1.7, without cofactor).
 *
 * The library's own `verify` multiplies by the cofactor, whatever its options. OpenSSL does not, so
 * the holder of a key with a component of small order could have a browser accept what Node refuses.
 */
function nonceOf(rawKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Uint8Array {
  const key = Point.fromBytes(rawKey);
  const s = littleEndian(signature.subarray(32));
  const digest = sha512(concatBytes(signature.subarray(0, 32), rawKey, message));
  const k = littleEndian(digest) % Point.Fn.ORDER;
  return Point.BASE.multiplyUnsafe(s).subtract(key.multiplyUnsafe(k)).toBytes();
}

function littleEndian(bytes: Uint8Array): bigint {
  // A copy: `slice` of a Buffer would share the caller's memory, and turn the signature around.
  return BigInt(`0x${bytesToHex(Uint8Array.from(bytes).reverse())}`);
}

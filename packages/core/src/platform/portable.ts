import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { Platform } from "./platform.ts";

export const platform: Platform = {
  sha256: (bytes) => sha256(bytes),
  sha256Hex: (bytes) => bytesToHex(sha256(bytes)),
  // `zip215: false` asks for RFC 8032 and NIST FIPS 186-5 rules instead of the looser ZIP 215.
  verifyEd25519: (rawKey, message, signature) => {
    try {
      return ed25519.verify(signature, message, rawKey, { zip215: false });
    } catch {
      // The library throws on a point that is not on the curve; that is a bad signature to us.
      return false;
    }
  },
};

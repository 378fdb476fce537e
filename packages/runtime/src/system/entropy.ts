import { randomBytes } from "node:crypto";
import { hexEncode } from "@sovereign/core";

/** Randomness, injected: nothing else in the product asks the system for it. */
export interface Entropy {
  bytes(count: number): Uint8Array;
}

/** Frozen: whoever embeds us holds it, and nonces come from it. */
export const systemEntropy: Entropy = Object.freeze({
  bytes: (count: number): Uint8Array => randomBytes(count),
});

/** 128 random bits as 32 hex digits: a nonce. */
export function newNonce(entropy: Entropy): string {
  return hexEncode(entropy.bytes(16));
}

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/** An identifier of 100 random bits behind a prefix, such as `run_…`. */
export function newId(prefix: string, entropy: Entropy): string {
  let id = prefix;
  for (const byte of entropy.bytes(20)) id += ALPHABET.charAt(byte & 31);
  return id;
}

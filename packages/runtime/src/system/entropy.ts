import { randomBytes } from "node:crypto";
import { hexEncode } from "@sovereign/core";

/** Randomness, injected: nothing else in the product asks the system for it. */
export interface Entropy {
  bytes(count: number): Uint8Array;
}

/** To ask the system takes as long for sixteen bytes as for some hundred. */
const POOL_BYTES = 1024;
const SMALL_BYTES = 64;
let pool = Buffer.alloc(0);

/** Frozen: whoever embeds us holds it, and nonces come from it. */
export const systemEntropy: Entropy = Object.freeze({ bytes });

function bytes(count: number): Uint8Array {
  if (count > SMALL_BYTES) return randomBytes(count);
  if (pool.length < count) pool = randomBytes(POOL_BYTES);
  const taken = new Uint8Array(pool.subarray(0, count));
  // Nobody is given them twice, and nobody finds them here.
  pool.fill(0, 0, count);
  pool = pool.subarray(count);
  return taken;
}

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

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
} from "node:crypto";
import { parsePublicKey, type Signer } from "@sovereign/core";

/** A signer over a fresh key, for tests. */
export function newSigner(): Signer {
  return signerOf(generateKeyPairSync("ed25519").privateKey);
}

function signerOf(key: KeyObject): Signer {
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  return { publicKey: parsePublicKey(spki), sign: (message) => sign(null, message, key) };
}

const SEED = Buffer.from(`302e020100300506032b657004220420${"07".repeat(32)}`, "hex");

/** Always the same key. */
export const testSigner: Signer = signerOf(
  createPrivateKey({ key: SEED, format: "der", type: "pkcs8" }),
);

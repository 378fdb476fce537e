/// <reference types="node" />
import { createPublicKey, hash, type KeyObject, verify } from "node:crypto";
import type { Platform } from "./platform.ts";

const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Importing a key costs more than a hash: the few keys of an installation are kept. */
const imported = new Map<string, KeyObject>();
const IMPORTED_MAX = 256;

export const platform: Platform = {
  // A string of 32 characters comes out of OpenSSL twice as fast as a Buffer does.
  sha256: (bytes) => fromBinary(hash("sha256", bytes, "binary")),
  sha256Hex: (data) => hash("sha256", data, "hex"),
  verifyEd25519: (rawKey, message, signature) =>
    verify(null, message, importKey(rawKey), signature),
};

function fromBinary(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

function importKey(rawKey: Uint8Array): KeyObject {
  const id = Buffer.from(rawKey).toString("latin1");
  const known = imported.get(id);
  if (known !== undefined) return known;
  const der = Buffer.concat([SPKI_PREFIX, rawKey]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  if (imported.size >= IMPORTED_MAX) imported.clear();
  imported.set(id, key);
  return key;
}

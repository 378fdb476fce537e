/// <reference types="node" />
import { createPublicKey, hash, type KeyObject, verify } from "node:crypto";
import type { Platform } from "./platform.ts";

const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Importing a key costs more than a hash: the few keys of an installation are kept. */
const imported = new Map<string, KeyObject>();
const IMPORTED_MAX = 256;

export const platform: Platform = {
  sha256: (bytes) => plain(hash("sha256", bytes, "buffer")),
  sha256Hex: (bytes) => hash("sha256", bytes, "hex"),
  verifyEd25519: (rawKey, message, signature) =>
    verify(null, message, importKey(rawKey), signature),
};

/** Without Node's Buffer, whose `slice` shares memory where that of plain bytes copies. */
function plain(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
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

import { generateKeyPairSync } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import { hexDecode, hexEncode, parsePublicKey, sha256Hex } from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const code = (code: string): unknown => expect.objectContaining({ code });

/** Decoding by another implementation, as the yardstick. */
function isPoint(raw: Uint8Array): boolean {
  try {
    return !ed25519.Point.fromBytes(raw).isSmallOrder();
  } catch {
    return false;
  }
}

function isKey(raw: Uint8Array): boolean {
  try {
    parsePublicKey(raw);
    return true;
  } catch (error) {
    expect(error).toEqual(code("ERR_KEY_MALFORMED"));
    return false;
  }
}

describe("a public key", () => {
  it("is read from its raw bytes and from SPKI alike", () => {
    const spki = generateKeyPairSync("ed25519").publicKey.export({ format: "der", type: "spki" });
    const key = parsePublicKey(spki);
    expect(key.keyId).toBe(sha256Hex(spki));
    expect(parsePublicKey(key.raw)).toEqual(key);
    expect(hexEncode(key.spki)).toBe(hexEncode(spki));
  });

  it("keeps its own bytes: the caller's buffer may change afterwards", () => {
    const spki = generateKeyPairSync("ed25519").publicKey.export({ format: "der", type: "spki" });
    for (const bytes of [spki, Buffer.from(spki.subarray(12))]) {
      const key = parsePublicKey(bytes);
      const raw = hexEncode(key.raw);
      bytes.fill(0xaa);
      expect(hexEncode(key.raw)).toBe(raw);
      expect(sha256Hex(key.spki)).toBe(key.keyId);
    }
  });

  it("is refused where its bytes are no point of the curve", () => {
    const two = hexDecode(`02${"00".repeat(31)}`);
    expect(() => parsePublicKey(two)).toThrow(code("ERR_KEY_MALFORMED"));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (raw) => {
        expect(isKey(raw)).toBe(isPoint(raw));
      }),
    );
  });
});

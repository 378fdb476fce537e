import { createPrivateKey, sign } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import {
  checkSignature,
  concatBytes,
  hexDecode,
  parsePublicKey,
  utf8Encode,
} from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { platform as node } from "../../src/platform/node.ts";
import { platform as portable } from "../../src/platform/portable.ts";

// Implementations of Ed25519 part ways on keys and nonces with a component of small order: with
// the cofactor the equation holds, without it only sometimes. Who holds the key can make such a
// signature, and have one verifier accept what another refuses. So our rule is one, everywhere.

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;
/** A point of order 8. */
const TORSION = Point.fromBytes(
  hexDecode("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
);

const number = (bytes: Uint8Array): bigint =>
  bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
const bytesOf = (value: bigint): Uint8Array =>
  Uint8Array.from({ length: 32 }, (_, at) => Number((value >> BigInt(8 * at)) & 255n));
const torsion = (times: number): typeof TORSION => TORSION.multiplyUnsafe(BigInt(times));

/** A signature under s·B + i·T with the nonce point r·B + j·T, and whether it is one by our rule. */
function signWithTorsion(
  [s, i]: [bigint, number],
  [r, j]: [bigint, number],
  message: Uint8Array,
): { key: Uint8Array; signature: Uint8Array; good: boolean } {
  const key = Point.BASE.multiply(s).add(torsion(i)).toBytes();
  const nonce = Point.BASE.multiply(r).add(torsion(j)).toBytes();
  const k = number(sha512(concatBytes(nonce, key, message))) % ORDER;
  const signature = concatBytes(nonce, bytesOf((r + k * s) % ORDER));
  // S·B = R + k·A leaves (j + k·i)·T over, which vanishes only when 8 divides the factor.
  return { key, signature, good: (BigInt(j) + k * BigInt(i)) % 8n === 0n };
}

describe("a component of small order", () => {
  it("is judged without cofactor, and by both platforms alike", () => {
    let good = 0;
    for (let i = 0; i < 8; i++) {
      for (let j = 0; j < 8; j++) {
        for (let nonce = 1n; nonce <= 4n; nonce++) {
          const message = utf8Encode(`message ${nonce}`);
          const made = signWithTorsion([12345n, i], [nonce, j], message);
          const { key, signature } = made;
          const found = [
            node.verifyEd25519(key, message, signature),
            portable.verifyEd25519(key, message, signature),
            checkSignature(parsePublicKey(key), message, signature),
          ];
          expect({ i, j, nonce, found }).toEqual({
            i,
            j,
            nonce,
            found: found.map(() => made.good),
          });
          if (made.good) good += 1;
        }
      }
    }
    expect(good).toBeGreaterThan(8);
    expect(good).toBeLessThan(100);
  });
});

describe("both platforms", () => {
  const der = Buffer.from(`302e020100300506032b657004220420${"07".repeat(32)}`, "hex");
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const key = ed25519.getPublicKey(new Uint8Array(32).fill(7));

  it("accept a good signature, and refuse it with any one bit flipped anywhere", () => {
    const flips = fc.record({
      message: fc.uint8Array({ maxLength: 200 }),
      place: fc.nat(),
      bit: fc.integer({ min: 0, max: 7 }),
    });
    fc.assert(
      fc.property(flips, ({ message, place, bit }) => {
        const parts = [key, message, new Uint8Array(sign(null, message, privateKey))] as const;
        const whole = concatBytes(...parts);
        const changed = whole.slice();
        const at = place % whole.length;
        changed[at] = (changed[at] as number) ^ (1 << bit);
        for (const platform of [node, portable]) {
          const verify = (bytes: Uint8Array): boolean =>
            platform.verifyEd25519(bytes.slice(0, 32), bytes.slice(32, -64), bytes.slice(-64));
          expect(verify(whole)).toBe(true);
          expect(verify(changed)).toBe(false);
        }
      }),
    );
  });

  it("leave the caller's bytes alone, also where they are a Buffer's", () => {
    const message = utf8Encode("message");
    const signature = sign(null, message, privateKey);
    const before = signature.toString("hex");
    for (const platform of [node, portable]) {
      expect(platform.verifyEd25519(key, message, signature)).toBe(true);
      expect(signature.toString("hex")).toBe(before);
    }
  });

  it("hash alike, into plain bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(node.sha256(bytes)).toEqual(portable.sha256(bytes));
        expect(node.sha256Hex(bytes)).toBe(portable.sha256Hex(bytes));
      }),
    );
  });
});

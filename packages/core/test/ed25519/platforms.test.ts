import { hexDecode, parsePublicKey } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { checkSignatureOn } from "../../src/ed25519/ed25519.ts";
import { platform as node } from "../../src/platform/node.ts";
import { platform as portable } from "../../src/platform/portable.ts";
import { comparePlatforms, edgeCase } from "./edge-cases.ts";

const SMALL_ORDER_Y = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

describe("Node and the browser", { timeout: 120_000 }, () => {
  it("judge the same edge cases alike", () => {
    const found = comparePlatforms([node, portable], 0, 2000);
    expect(found.differ).toEqual([]);
    expect(found.asked).toBe(2000);
    expect(found.accepted).toBeGreaterThan(100);
  });

  it("refuse an R of small order, and a key of small order, with either sign", () => {
    // A nonce of 0 leaves R with its component of small order alone: without the rule some hold.
    let made = 0;
    for (let index = 0; index < 4096; index++) {
      if ((index >> 8) % 7 !== 0) continue;
      const { key, message, signature } = edgeCase(index);
      for (const over of [node, portable]) {
        expect(checkSignatureOn(over, parsePublicKey(key), message, signature)).toBe(false);
      }
      made += 1;
    }
    expect(made).toBeGreaterThan(500);
    for (const hex of SMALL_ORDER_Y) {
      const bytes = hexDecode(hex);
      expect(() => parsePublicKey(bytes)).toThrow();
      bytes[31] = (bytes[31] ?? 0) | 0x80;
      expect(() => parsePublicKey(bytes)).toThrow();
    }
  });
});

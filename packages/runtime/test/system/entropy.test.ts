import { describe, expect, it } from "vitest";
import { systemEntropy } from "../../src/system/index.ts";

describe("the system's randomness", () => {
  it("gives as many bytes as are asked for, and no piece of them twice", () => {
    const seen = new Set<string>();
    for (let round = 0; round < 500; round++) {
      for (const count of [16, 20, 64, 65, 1024]) {
        const given = systemEntropy.bytes(count);
        expect(given).toHaveLength(count);
        seen.add(Buffer.from(given.subarray(0, 16)).toString("hex"));
        seen.add(Buffer.from(given.subarray(-16)).toString("base64"));
      }
    }
    expect(seen.size).toBe(500 * 10);
  });

  it("gives bytes that nobody else holds", () => {
    const first = systemEntropy.bytes(16);
    const before = Buffer.from(first);
    const second = systemEntropy.bytes(16);
    expect(first.buffer).not.toBe(second.buffer);
    second.fill(0);
    expect(Buffer.from(first)).toEqual(before);
    expect(first.buffer.byteLength).toBe(16);
  });
});

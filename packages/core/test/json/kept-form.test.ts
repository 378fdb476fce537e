import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import {
  canonicalize,
  digestOf,
  frozenCopy,
  JSON_DEPTH_MAX,
  type JsonValue,
} from "@sovereign/core";

/** A string that only the platform's writer can write: whoever counts its calls sees each writing. */
const MARK = 'a "mark"';

function writingsOf(work: () => unknown): number {
  const spy = vi.spyOn(JSON, "stringify");
  try {
    work();
    return spy.mock.calls.filter(([value]) => value === MARK).length;
  } finally {
    spy.mockRestore();
  }
}

function nested(levels: number): JsonValue {
  return levels === 0 ? 1 : [nested(levels - 1)];
}

describe("a frozen copy", () => {
  it("is written once, for itself and for whatever it is a part of", () => {
    const copied = frozenCopy({ text: MARK, more: [1, 2] });
    const writings = writingsOf(() => {
      for (let time = 0; time < 3; time++) {
        digestOf(copied);
        canonicalize(copied);
        canonicalize({ part: copied, list: [copied] });
      }
    });
    expect(writings).toBe(1);
  });

  it("has the canonical form and the digest of the value it was made of", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (given) => {
        const value = given as JsonValue;
        const copied = frozenCopy(value);
        for (let time = 0; time < 2; time++) {
          expect(canonicalize(copied)).toBe(canonicalize(value));
          expect(canonicalize({ a: [copied] })).toBe(canonicalize({ a: [value] }));
          expect(digestOf(copied)).toBe(digestOf(value));
        }
      }),
    );
  });

  it("is not copied again, and what stands for it is", () => {
    const copied = frozenCopy({ a: { b: 1 } }) as { a: { b: number } };
    expect(frozenCopy(copied)).toBe(copied);
    const liar = new Proxy(copied, {});
    expect(frozenCopy(liar)).not.toBe(copied);
    expect(frozenCopy({ ...copied })).not.toBe(copied);
  });

  it("keeps nothing of the caller's value, which may change", () => {
    const own = { a: { b: 1 } };
    const first = frozenCopy(own);
    const before = digestOf(first);
    expect(digestOf(own)).toBe(before);
    own.a.b = 2;
    expect(digestOf(own)).not.toBe(before);
    expect(digestOf(first)).toBe(before);
    expect(digestOf(frozenCopy(own))).toBe(digestOf(own));
  });

  it("cannot be changed after it was written", () => {
    const copied = frozenCopy({ a: { b: [1] } }) as { a: { b: number[] } };
    const before = canonicalize(copied);
    expect(() => (copied.a.b[0] = 2)).toThrow(TypeError);
    expect(() => copied.a.b.push(2)).toThrow(TypeError);
    expect(Reflect.setPrototypeOf(copied, { c: 1 })).toBe(false);
    expect(() => Object.defineProperty(copied.a, "b", { value: 2 })).toThrow(TypeError);
    expect(canonicalize(copied)).toBe(before);
  });

  it("counts with its own depth where it is a part", () => {
    const tooDeep = expect.objectContaining({ code: "ERR_JSON_TOO_DEEP" }) as Error;
    const copied = frozenCopy(nested(JSON_DEPTH_MAX));
    for (let time = 0; time < 2; time++) {
      expect(canonicalize(copied)).toBe("[".repeat(64) + "1" + "]".repeat(64));
      expect(() => canonicalize([copied])).toThrow(tooDeep);
    }
    expect(canonicalize([frozenCopy(nested(JSON_DEPTH_MAX - 1))])).toBe(canonicalize(copied));
  });
});

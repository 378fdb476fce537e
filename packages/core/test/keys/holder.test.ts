import { countHolders, holderOf, isSameHolder } from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const LETTERS = [
  "a",
  "i",
  "l",
  "I",
  "1",
  "|",
  "!",
  "0",
  "o",
  "s",
  "5",
  "r",
  "n",
  "m",
  "v",
  "w",
].concat(["_", ".", "-", " ", "\u00ed", "\u0131", "\uff52"]);

describe("holders", () => {
  it.each([
    ["case", "Alice", "alice"],
    ["width", "ａlice", "alice"],
    ["normal form", "al\u00edce", "ali\u0301ce"],
    ["marks", "al\u00edce", "alice"],
    ["separators", "alice_b", "alice-b"],
    ["no separator", "alice.b", "aliceb"],
    ["spaces", "alice\u00a0b", "alice b"],
    ["what has no width", "ali\u200bce", "alice"],
    ["1, i and l", "a1ice", "allce"],
    ["0 and o", "b0b", "bob"],
    ["5 and s", "5am", "sam"],
    ["rn and m", "rnax", "max"],
    ["rn over a separator", "r_nax", "max"],
    ["vv and w", "vvill", "will"],
    ["w before v and after it", "vw", "wv"],
    ["vvv, which may be read both ways", "vw", "vvv"],
    ["m and rn beside another", "rnm", "mrn"],
  ])("are one by %s", (_by, one, other) => {
    expect(isSameHolder(one, other)).toBe(true);
    expect(countHolders([one, other, one])).toBe(1);
  });

  it("are two where a reader tells their names apart", () => {
    expect(isSameHolder("alice", "bob")).toBe(false);
    expect(countHolders(["alice", "bob", "a1ice"])).toBe(2);
  });

  it("are the same to whoever counts and to whoever compares", () => {
    const name = fc.string({
      unit: fc.constantFrom(...LETTERS),
      maxLength: 6,
    });
    fc.assert(
      fc.property(fc.array(name, { maxLength: 5 }), (names) => {
        const apart: string[] = [];
        for (const one of names) {
          if (!apart.some((other) => isSameHolder(one, other))) apart.push(one);
        }
        expect(countHolders(names)).toBe(apart.length);
        expect(names.every((one) => holderOf(one) === holderOf(one.toUpperCase()))).toBe(true);
      }),
    );
  });
});

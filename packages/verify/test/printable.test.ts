import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { printable } from "../src/printable.ts";

describe("text of the evidence, made printable,", () => {
  it.each([
    ["plain text, Ünïcode, 漢字 and 🙂", "plain text, Ünïcode, 漢字 and 🙂"],
    ["a line\nand\r\nmore\ttext", "a line\\u{a}and\\u{d}\\u{a}more\\u{9}text"],
    ["\u001b[2J\u009b2JVerdict: VALID", "\\u{1b}[2J\\u{9b}2JVerdict: VALID"],
    ["\u202egnp.exe\u2066", "\\u{202e}gnp.exe\\u{2066}"],
    ["zero\u200bwidth\ufeff", "zero\\u{200b}width\\u{feff}"],
    ["\u2028\u2029", "\\u{2028}\\u{2029}"],
    ["\ud800", "\\u{d800}"],
  ])("shows %j as %j", (text, shown) => {
    expect(printable(text)).toBe(shown);
  });

  it("is one short line without anything that cannot be seen, whatever it was", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 5000 }), (text) => {
        const shown = printable(text);
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
        expect(printable(shown.slice(0, 2000))).toBe(shown.slice(0, 2000));
      }),
    );
    expect(printable("x".repeat(1_000_000))).toHaveLength(2000);
  });
});

import { createHash } from "node:crypto";
import {
  canonicalBytes,
  canonicalize,
  type JsonValue,
  parseCanonicalJson,
  parseStrictJson,
  utf8Encode,
} from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CORPUS_DIGESTS, corpusBits } from "./number-corpus.ts";

const parse = (text: string): JsonValue => parseStrictJson(utf8Encode(text));
const code = (code: string): unknown => expect.objectContaining({ code });

describe("canonical JSON", () => {
  // RFC 8785 appendix B: the bits of a double, and its one spelling.
  it.each([
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["8000000000000001", "-5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["ffefffffffffffff", "-1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["c340000000000000", "-9007199254740992"],
    ["4430000000000000", "295147905179352830000"],
    ["44b52d02c7e14af5", "9.999999999999997e+22"],
    ["44b52d02c7e14af6", "1e+23"],
    ["44b52d02c7e14af7", "1.0000000000000001e+23"],
    ["444b1ae4d6e2ef4e", "999999999999999700000"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["41b3de4355555553", "333333333.3333332"],
    ["41b3de4355555557", "333333333.33333343"],
    ["becbf647612f3696", "-0.0000033333333333333333"],
    ["43143ff3c1cb0959", "1424953923781206.2"],
  ])("writes the double %s as %s", (bits, text) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(`0x${bits}`));
    expect(canonicalize(view.getFloat64(0))).toBe(text);
  });

  it("writes the published number corpus to 100,000 lines, and reads every number back", () => {
    const view = new DataView(new ArrayBuffer(8));
    const hash = createHash("sha256");
    let lines = 0;
    for (const bits of corpusBits()) {
      view.setBigUint64(0, bits);
      const text = canonicalize(view.getFloat64(0));
      hash.update(`${bits.toString(16)},${text}\n`);
      view.setFloat64(0, parse(text) as number);
      // Minus zero has the spelling of zero: the one number that does not come back.
      if (bits !== 1n << 63n) expect(view.getBigUint64(0)).toBe(bits);
      lines += 1;
      const expected = CORPUS_DIGESTS[lines];
      if (expected !== undefined) expect(hash.copy().digest("hex")).toBe(expected);
      if (lines === 100_000) break;
    }
  });

  it("is the identity after parsing, for any value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const bytes = canonicalBytes(value as JsonValue);
        expect(canonicalBytes(parseStrictJson(bytes))).toEqual(bytes);
        expect(canonicalBytes(parseCanonicalJson(bytes))).toEqual(bytes);
      }),
    );
  });

  it("agrees with the platform's parser on what both accept", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(parse(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  it.each([
    ["undefined", undefined],
    ["a function", () => 1],
    ["NaN", Number.NaN],
    ["infinity", Number.POSITIVE_INFINITY],
    ["a lone surrogate", "\ud800"],
    ["a key with a lone surrogate", { "\udc00": 1 }],
    ["a date", new Date(0)],
    ["undefined inside", { a: undefined }],
  ])("refuses to write %s", (_, value) => {
    expect(() => canonicalize(value as JsonValue)).toThrow(code("ERR_JSON_UNSUPPORTED"));
  });

  it("refuses nesting beyond 64, without overflowing", () => {
    const deep = "[".repeat(65) + "]".repeat(65);
    expect(() => parse(deep)).toThrow(code("ERR_JSON_TOO_DEEP"));
    const hostile = utf8Encode("[".repeat(20_000));
    expect(() => parseStrictJson(hostile)).toThrow(code("ERR_JSON_TOO_DEEP"));
    expect(() => parseCanonicalJson(hostile)).toThrow(code("ERR_JSON_TOO_DEEP"));
    let value: JsonValue = 1;
    for (let depth = 0; depth < 65; depth++) value = [value];
    expect(() => canonicalize(value)).toThrow(code("ERR_JSON_TOO_DEEP"));
    expect(parse("[".repeat(64) + "]".repeat(64))).toBeDefined();
  });
});

describe("the strict parser", () => {
  it.each([
    ['{"a":1,"a":2}', "ERR_JSON_DUPLICATE_KEY"],
    ['{"a":1,"\\u0061":2}', "ERR_JSON_DUPLICATE_KEY"],
    ['"\\ud800"', "ERR_JSON_MALFORMED"],
    ["1e999", "ERR_JSON_MALFORMED"],
    ["01", "ERR_JSON_MALFORMED"],
    ["1.", "ERR_JSON_MALFORMED"],
    ["+1", "ERR_JSON_MALFORMED"],
    ["[1,]", "ERR_JSON_MALFORMED"],
    ["{a:1}", "ERR_JSON_MALFORMED"],
    ["'a'", "ERR_JSON_MALFORMED"],
    ["1 2", "ERR_JSON_MALFORMED"],
    ["", "ERR_JSON_MALFORMED"],
    ["// x\n1", "ERR_JSON_MALFORMED"],
    ['"a\nb"', "ERR_JSON_MALFORMED"],
    ["\ufeff1", "ERR_JSON_MALFORMED"],
    ["truE", "ERR_JSON_MALFORMED"],
  ])("refuses %j", (text, expected) => {
    expect(() => parse(text)).toThrow(code(expected));
  });

  it("refuses what is not UTF-8, and what is too large", () => {
    expect(() => parseStrictJson(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(
      code("ERR_JSON_MALFORMED"),
    );
    const bytes = utf8Encode('"xxxxxxxx"');
    expect(() => parseStrictJson(bytes, { bytesMax: 5 })).toThrow(code("ERR_JSON_TOO_LARGE"));
  });

  it("keeps __proto__ as plain data", () => {
    const value = parse('{"__proto__":{"polluted":true}}');
    expect(Object.keys(value as object)).toEqual(["__proto__"]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it.each(['{"b":1,"a":2}', '{"a": 1}', '{"a":1,"a":1}', "1.0", '"\\u0061"', "-0", "1e2"])(
    "calls %j not canonical",
    (text) => {
      const bytes = utf8Encode(text);
      expect(() => parseCanonicalJson(bytes)).toThrow(code("ERR_JSON_NOT_CANONICAL"));
    },
  );
});

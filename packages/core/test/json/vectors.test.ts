import {
  canonicalBytes,
  canonicalize,
  hexEncode,
  parseCanonicalJson,
  parseStrictJson,
  utf8Decode,
} from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { vectorBytes, vectorsMissing } from "../vectors.ts";

// cyberphone/json-canonicalization testdata, Apache-2.0.

const NAMES = ["arrays", "french", "structures", "unicode", "values", "weird"];

describe.skipIf(vectorsMissing !== null)(`JCS vectors ${vectorsMissing ?? ""}`, () => {
  it.each(NAMES)("writes %s as the vector does", (name) => {
    const value = parseStrictJson(vectorBytes(`jcs/testdata/input/${name}.json`));
    const expected = vectorBytes(`jcs/testdata/output/${name}.json`);
    expect(canonicalize(value)).toBe(utf8Decode(expected));
    const hex = utf8Decode(vectorBytes(`jcs/testdata/outhex/${name}.txt`)).replaceAll(/\s/g, "");
    expect(hexEncode(canonicalBytes(value))).toBe(hex);
    expect(parseCanonicalJson(expected)).toEqual(value);
  });
});

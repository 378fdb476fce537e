import { describe, expect, it } from "vitest";
import {
  type ErrorCode,
  errorCatalogue,
  errorRow,
  isErrorCode,
  SovereignError,
} from "../../src/index.ts";

/** Codes of other versions, and what a hostile process may send in the place of one. */
const STRANGE = [
  "ERR_OF_A_LATER_VERSION",
  "",
  "toString",
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "err_internal",
  "\u0000",
  "ERR_".repeat(10_000),
];

describe("an error of a code that this version does not know", () => {
  it.each(STRANGE)("is told as a fatal one, and throws nothing: %j", (code) => {
    const error = new SovereignError(code as ErrorCode, "from elsewhere");
    expect(error.kind).toBe("fatal");
    expect(error.exitCode).toBe(1);
    expect(errorRow(code)).toMatchObject({ kind: "fatal", http: 500, exit: 1 });
    expect(isErrorCode(code)).toBe(false);
  });

  it.each([null, undefined, 7, {}, [], ["ERR_FORMAT_INVALID"]])("is no code: %j", (code) => {
    expect(isErrorCode(code)).toBe(false);
    expect(new SovereignError(code as ErrorCode, "from elsewhere").kind).toBe("fatal");
  });
});

it("means what the catalogue says for each code that is known", () => {
  for (const [name, row] of Object.entries(errorCatalogue)) {
    if (!isErrorCode(name)) throw new Error(name);
    const error = new SovereignError(name, "known");
    expect(error).toMatchObject({ kind: row.kind, exitCode: row.exit });
  }
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maskBytes, quotable } from "../../src/gateway/mask.ts";

const SECRETS = [
  "correct horse battery staple",
  'p4ss "w/o\\rd" & <x>\'y+z%41',
  "Zm9v+YmFy/==41",
  "\\u0041%2541&lt;=3D'tail",
];

const each = (text: string, one: (code: number) => string): string =>
  Array.from(text, (character) => one(character.charCodeAt(0))).join("");
const digits = (code: number, base: number, length: number): string =>
  code.toString(base).padStart(length, "0");

/** What servers make of a text that they repeat, and what they can make of that again. */
const ESCAPES: Readonly<Record<string, (text: string) => string>> = {
  json: (text) => JSON.stringify(text),
  "json with \\u": (text) => `"${each(text, (code) => `\\u${digits(code, 16, 4)}`)}"`,
  "json with \\u003c": (text) =>
    JSON.stringify(text).replaceAll(/[<>&']/g, (one) => `\\u00${one.charCodeAt(0).toString(16)}`),
  "an address": encodeURIComponent,
  "an address, all of it": (text) => each(text, (code) => `%${digits(code, 16, 2)}`),
  "a form": (text) => new URLSearchParams({ k: text }).toString(),
  html: (text) =>
    text
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll("'", "&apos;")
      .replaceAll("/", "&sol;"),
  "html by numbers": (text) => each(text, (code) => `&#${code};&#x`.slice(0, -3)),
  "\\x": (text) => each(text, (code) => `\\x${digits(code, 16, 2)}`),
  octal: (text) => each(text, (code) => `\\${digits(code, 8, 3)}`),
  "quoted-printable": (text) =>
    each(text, (code) => `=${digits(code, 16, 2).toUpperCase()}`).replaceAll(/.{72}/g, "$&=\r\n"),
  sql: (text) => `'${text.replaceAll("'", "''")}'`,
  shell: (text) => `'${text.replaceAll("'", "'\\''")}'`,
  csv: (text) => `"${text.replaceAll('"', '""')}"`,
};

const hex = (text: string): string => Buffer.from(text).toString("hex");
/** What is nobody's escape of an escape. */
const ENCODINGS: Readonly<Record<string, (text: string) => Buffer>> = {
  hexadecimal: (text) => Buffer.from(hex(text)),
  "hexadecimal with spaces": (text) => Buffer.from(hex(text).replaceAll(/../g, "$& ")),
  "hexadecimal with colons": (text) =>
    Buffer.from(hex(text).toUpperCase().replaceAll(/../g, "$&:")),
  "hexadecimal in a list": (text) => Buffer.from(hex(text).replaceAll(/../g, "0x$&, ")),
  "UTF-16": (text) => Buffer.from(text, "utf16le"),
  "UTF-16 of another order": (text) => Buffer.from(text, "utf16le").swap16(),
  base64: (text) => Buffer.from(Buffer.from(text).toString("base64")),
  "base64 in lines": (text) =>
    Buffer.from(
      Buffer.from(`a user and then ${text}`).toString("base64").replaceAll(/.{20}/g, "$&\r\n"),
    ),
};

/** The answer without the secret; null where it is refused. */
function masked(answer: Buffer, value: string): Buffer | null {
  try {
    return maskBytes(answer, [{ name: "KEY", value }]);
  } catch (error) {
    expect(error).toMatchObject({ code: "ERR_SKILL_FAILED" });
    return null;
  }
}

function expectHidden(answer: Buffer, value: string): void {
  const text = `It said ${answer.toString("latin1")} to us.`;
  expect(masked(Buffer.from(text, "latin1"), value)?.toString("latin1")).not.toBe(text);
}

describe("a secret in an answer", () => {
  const all = Object.entries({ ...ESCAPES, ...ENCODINGS });
  it.each(all)("is told from other text as %s", (_, form) => {
    for (const value of SECRETS) expectHidden(Buffer.from(form(value)), value);
  });

  it("is told where it was escaped up to three times", () => {
    const escapes = fc.array(fc.constantFrom(...Object.values(ESCAPES)), {
      minLength: 1,
      maxLength: 3,
    });
    const printable = fc
      .string({ unit: fc.constantFrom(...Array.from("ab4z19\\'\"&<%+=/; u#x")), maxLength: 30 })
      .map((text) => `${text}qrstuvwx`);
    fc.assert(
      fc.property(fc.constantFrom(...SECRETS), escapes, (value, given) => {
        expectHidden(Buffer.from(given.reduce((text, one) => one(text), value)), value);
      }),
    );
    fc.assert(
      fc.property(printable, fc.constantFrom(...Object.values(ESCAPES)), (value, escape) => {
        expectHidden(Buffer.from(escape(value)), value);
      }),
    );
  });

  it("is no secret in pieces where a server's words are cut", () => {
    const [value = ""] = SECRETS;
    for (let before = 260; before < 301; before++) {
      const said = quotable(`${"x".repeat(before)}${value}`, [{ name: "KEY", value }]);
      expect(said).toHaveLength(Math.min(300, before + "[secret KEY]".length));
      expect(said).not.toMatch(/x[^x[]/);
    }
  });

  it("leaves an answer without it as it is, however long", () => {
    const [value = ""] = SECRETS;
    for (const text of ["\\u005c", "%25", "&amp;", "=3D", "ab", "\\\\", "0x41, ", "+ ' "]) {
      const answer = Buffer.from(text.repeat(1_000_000 / text.length));
      expect(masked(answer, value)?.equals(answer)).toBe(true);
    }
  });
});

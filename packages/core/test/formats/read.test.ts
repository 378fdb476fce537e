import { describe, expect, test } from "vitest";
import { z } from "zod";
import { parseFormat, readFormat } from "../../src/index.ts";

function told(format: z.ZodType, value: unknown): string {
  const { error } = readFormat(format, value);
  return error?.issues[0]?.message ?? "nothing wrong";
}

describe("what is wrong with a value", () => {
  const object = z.strictObject({ a: z.string().optional() });
  const rows: [format: z.ZodType, value: unknown, words: string][] = [
    [z.string(), undefined, "expected text, found nothing"],
    [z.string(), null, "expected text, found null"],
    [z.string(), ["a"], "expected text, found a list"],
    [z.number(), "5", "expected a number, found text"],
    [z.int(), 1.5, "expected a whole number, found the number 1.5"],
    [z.boolean(), 1, "expected true or false, found the number 1"],
    [z.array(z.string()), {}, "expected a list, found an object"],
    [object, true, "expected an object, found true"],
    [object, { b: 1 }, 'unknown key "b"'],
    [object, { b: 1, c: 2 }, 'unknown keys "b", "c"'],
    [z.literal("a"), "b", "expected a, found other text"],
    [z.enum(["a", "b"]), "c", "expected one of a, b, found other text"],
    [z.enum(["a", "b"]), undefined, "expected one of a, b, found nothing"],
    [z.string().min(3), "ab", "expected at least 3 characters, found 2"],
    [z.array(z.string()).max(1), ["a", "b"], "expected at most 1 entries, found 2"],
    [z.number().positive(), 0, "expected more than 0, found 0"],
    [z.number().max(9), 10, "expected at most 9, found 10"],
    [z.string().regex(/^a$/), "b", "expected text that matches /^a$/, found other text"],
    [z.iso.datetime(), "x", /^expected a date and time such as .*, found other text$/.source],
    [z.union([z.string(), z.number()]), null, "found null, which is none of what is expected here"],
    [z.string("expected a name"), 5, "expected a name"],
  ];

  test.each(rows)("%#: is told as what was expected and what was found", (format, value, words) => {
    expect(told(format, value)).toMatch(words.startsWith("^") ? new RegExp(words) : words);
    expect(readFormat(format, value).success).toBe(false);
  });

  test("is told without the text that stands there, which can be a secret", () => {
    const secret = "sk-0123456789";
    for (const format of [z.enum(["a"]), z.url(), z.string().max(2), z.string().regex(/^a$/)]) {
      expect(told(format, secret)).not.toContain(secret);
    }
  });

  test("has its place before it", () => {
    const wrong = (): unknown => parseFormat(object, { a: 5 }, "the file");
    expect(wrong).toThrow("the file: at a: expected text, found the number 5");
  });
});

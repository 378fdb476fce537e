import type { z } from "zod";
import { printable } from "../bytes/printable.ts";
import type { ErrorCode } from "../errors/index.ts";
import { SovereignError } from "../errors/index.ts";
import { frozenCopy } from "../json/index.ts";
import { issueToTell, meantKey } from "./meant-key.ts";
import { readFormat } from "./read.ts";

/**
 * Check an untrusted value against a format.
 *
 * @param format the definition
 * @param value untrusted; already parsed JSON
 * @param what what the value is, for the message
 * @param code the code to throw, `ERR_FORMAT_INVALID` unless a domain has its own
 * @returns the typed value
 * @throws the code, with the path of the first problem
 */
export function parseFormat<T extends z.ZodType>(
  format: T,
  value: unknown,
  what: string,
  code: ErrorCode = "ERR_FORMAT_INVALID",
): z.infer<T> {
  const result = readFormat(format, value);
  if (result.success) {
    const key = lostKey(value);
    if (key === null) return result.data;
    const lost = printable(key);
    throw new SovereignError(code, `${what}: at ${lost}: no format has a key of this name`, {
      path: lost,
      problems: 1,
    });
  }
  const issue = issueToTell(format, result.error.issues);
  const path = issue === undefined ? "" : printable(issue.path.map(String).join("."));
  const found = (issue?.message ?? "no match") + meantKey(format, issue);
  throw new SovereignError(code, `${what}: ${path === "" ? "" : `at ${path}: `}${found}`, {
    path,
    problems: result.error.issues.length,
  });
}

/**
 * Take a value that somebody else holds: copied once, frozen, and held against a format. The typed
 * value is the copy itself, so its canonical form is made once for whoever asks.
 *
 * @param format one that reads a value as it is: without defaults, and without changes
 * @param value untrusted: may be a proxy, may throw when it is read
 * @throws as {@link parseFormat}, and the ERR_JSON codes of {@link frozenCopy}
 */
export function parseCopy<T extends z.ZodType>(
  format: T,
  value: unknown,
  what: string,
  code: ErrorCode = "ERR_FORMAT_INVALID",
): z.infer<T> {
  const copied = frozenCopy(value);
  parseFormat(format, copied, what, code);
  return copied as z.infer<T>;
}

/**
 * Where a key `__proto__` stands. The reader of formats leaves it out without a word: what was
 * signed and hashed would then be more than what is judged.
 */
function lostKey(value: unknown): string | null {
  if (typeof value !== "object" || value === null) return null;
  if (Object.hasOwn(value, "__proto__")) return "__proto__";
  for (const key of Object.keys(value)) {
    const one = (value as Record<string, unknown>)[key];
    const found = typeof one === "object" ? lostKey(one) : null;
    if (found !== null) return `${key}.${found}`;
  }
  return null;
}

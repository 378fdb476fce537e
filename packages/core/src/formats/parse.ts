import type { z } from "zod";
import type { ErrorCode } from "../errors/index.ts";
import { SovereignError } from "../errors/index.ts";

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
  const result = format.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue === undefined ? "" : issue.path.map(String).join(".");
  const found = issue === undefined ? "no match" : issue.message;
  throw new SovereignError(code, `${what}: ${path === "" ? "" : `at ${path}: `}${found}`, {
    path,
    problems: result.error.issues.length,
  });
}

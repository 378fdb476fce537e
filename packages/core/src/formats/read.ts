import type { z } from "zod";
import { quoted } from "../bytes/printable.ts";

/**
 * Hold an untrusted value against a format, with what is wrong told in our words: what was expected,
 * and what was found. Text that was found is not repeated: it can be a secret at the wrong place.
 *
 * @param format the definition; a message of its own goes before ours
 * @param value untrusted; already parsed JSON
 */
export function readFormat<T extends z.ZodType>(
  format: T,
  value: unknown,
): z.ZodSafeParseResult<z.infer<T>> {
  return format.safeParse(value, { error: toldIssue });
}

type Raw = z.core.$ZodRawIssue;

function toldIssue(issue: Raw): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return `expected ${KINDS[issue.expected] ?? issue.expected}, found ${kindOf(issue.input)}`;
    case "invalid_value":
      return `expected ${oneOf(issue.values.map(String))}, found ${valueOf(issue.input)}`;
    case "unrecognized_keys":
      return `unknown ${issue.keys.length === 1 ? "key" : "keys"} ${issue.keys.map(quoted).join(", ")}`;
    case "too_small":
      return `expected ${bound(issue, issue.minimum, "at least", "more than")}, found ${sizeOf(issue)}`;
    case "too_big":
      return `expected ${bound(issue, issue.maximum, "at most", "less than")}, found ${sizeOf(issue)}`;
    case "invalid_format":
      return `expected ${formatOf(issue)}, found ${valueOf(issue.input)}`;
    case "not_multiple_of":
      return `expected a multiple of ${String(issue.divisor)}, found ${valueOf(issue.input)}`;
    case "invalid_union":
      return `found ${valueOf(issue.input)}, which is none of what is expected here`;
    default:
      return undefined;
  }
}

const KINDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
  record: "an object",
  null: "null",
  never: "nothing",
};

function kindOf(input: unknown): string {
  if (input === undefined) return "nothing";
  if (input === null) return "null";
  if (Array.isArray(input)) return "a list";
  switch (typeof input) {
    case "string":
      return "text";
    case "boolean":
      return String(input);
    case "number":
      return `the number ${String(input)}`;
    default:
      return "an object";
  }
}

function valueOf(input: unknown): string {
  return typeof input === "string" ? "other text" : kindOf(input);
}

function oneOf(values: readonly string[]): string {
  if (values.length < 2) return values[0] ?? "nothing";
  return `one of ${values.join(", ")}`;
}

const UNITS: Readonly<Record<string, string>> = {
  string: "characters",
  array: "entries",
  set: "entries",
  map: "entries",
};

function bound(
  { origin, inclusive, exact }: Raw & { code: "too_small" | "too_big" },
  limit: number | bigint,
  including: string,
  without: string,
): string {
  const words = exact === true ? "exactly" : inclusive === false ? without : including;
  const unit = UNITS[origin];
  return `${words} ${String(limit)}${unit === undefined ? "" : ` ${unit}`}`;
}

function sizeOf({ input }: Raw): string {
  if (typeof input === "string" || Array.isArray(input)) return String(input.length);
  return typeof input === "number" ? String(input) : kindOf(input);
}

function formatOf(issue: Raw & { code: "invalid_format" }): string {
  switch (issue.format) {
    case "regex":
      return `text that matches ${String(issue["pattern"])}`;
    case "starts_with":
      return `text that begins with ${quoted(String(issue["prefix"]))}`;
    case "ends_with":
      return `text that ends with ${quoted(String(issue["suffix"]))}`;
    default:
      return FORMATS[issue.format] ?? issue.format;
  }
}

const FORMATS: Readonly<Record<string, string>> = {
  url: "a URL",
  datetime: "a date and time such as 2030-01-31T00:00:00Z",
  date: "a date such as 2030-01-31",
  email: "an email address",
  base64: "base64",
  ipv4: "an IPv4 address",
  ipv6: "an IPv6 address",
  uuid: "a UUID",
};

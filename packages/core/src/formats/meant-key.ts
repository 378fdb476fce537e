import type { z } from "zod";
import { printable } from "../bytes/printable.ts";
import { nearestName } from "../text/index.ts";

/**
 * What a key that no format has was meant to be, for the end of a message; empty where none is near, or
 * where something else is wrong.
 *
 * @param format what was expected
 * @param issue what its reader found first
 */
export function meantKey(format: z.ZodType, issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code !== "unrecognized_keys") return "";
  const near = nearestName(issue.keys[0] ?? "", [...keysOf(format, new Set())]);
  return near === null ? "" : `. Did you mean ${printable(near)}?`;
}

/** The issue that people are told: a misspelt key, before the field that is missing because of it. */
export function issueToTell(
  format: z.ZodType,
  issues: readonly z.core.$ZodIssue[],
): z.core.$ZodIssue | undefined {
  return issues.find((one) => meantKey(format, one) !== "") ?? issues[0];
}

/** Every key that a format names, wherever it stands in it. */
function keysOf(format: unknown, seen: Set<unknown>): Set<string> {
  if (!isFormat(format) || seen.has(format)) return new Set();
  seen.add(format);
  const { shape = {}, ...parts } = format._zod.def as unknown as Definition;
  const fields = Object.values(shape) as unknown[];
  const below = [...fields, ...Object.values(parts).flat()];
  return new Set([...Object.keys(shape), ...below.flatMap((one) => [...keysOf(one, seen)])]);
}

type Definition = Readonly<Record<string, unknown>> & { readonly shape?: object };

function isFormat(value: unknown): value is z.core.$ZodType {
  return typeof value === "object" && value !== null && "_zod" in value;
}

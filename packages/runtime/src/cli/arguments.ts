import { writeFileSync, type WriteFileOptions } from "node:fs";
import { fields, SovereignError } from "@sovereign/core";
import { InvalidArgumentError } from "commander";

/** A parser of an argument that is a whole number within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}`);
  };
}

/** A parser of a name that a person chooses: a tenant, a role, somebody who holds a key. */
export function parseName(text: string): string {
  const result = fields.name.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(result.error.issues[0]?.message ?? "expected a name");
}

/** A parser of a run's identifier. */
export function parseRunId(text: string): string {
  const result = fields.runId.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(result.error.issues[0]?.message ?? "expected a run");
}

/**
 * Write a file that a person named.
 * @throws ERR_FILE_UNWRITABLE
 */
export function writeNamed(
  path: string,
  content: string | Uint8Array,
  options: WriteFileOptions = {},
): void {
  try {
    writeFileSync(path, content, options);
  } catch (cause) {
    const { code = "unknown" } = cause as NodeJS.ErrnoException;
    const why: Readonly<Record<string, string>> = {
      ENOENT: "its folder is not there",
      EACCES: "that is not permitted",
      EISDIR: "it is a folder",
      EEXIST: "it is there already",
    };
    const text = `Cannot write ${path}: ${why[code] ?? code}.`;
    throw new SovereignError("ERR_FILE_UNWRITABLE", text, { path }, cause);
  }
}

import { unquoteGitName } from "@sovereign/core";

/** Names as git writes them in a diff. Each character of a name is one byte. */

/** A name as git reads it back: in quotes where it holds more than plain letters. */
export function quotedName(prefix: string, name: string): string {
  const path = prefix + name;
  if (/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(path)) return path;
  const octal = (one: string): string => `\\${one.charCodeAt(0).toString(8).padStart(3, "0")}`;
  return `"${path.replaceAll(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, octal)}"`;
}

/**
 * The name in `a/NAME b/NAME`, whatever the two prefixes are, or none.
 * @returns null where it is not one name twice
 */
export function plainName(names: string): string | null {
  const half = (names.length - 1) / 2;
  if (!Number.isInteger(half) || names[half] !== " ") return null;
  const left = unquoteGitName(names.slice(0, half));
  const right = unquoteGitName(names.slice(half + 1));
  if (left === right) return left;
  const [a, b] = [left, right].map((name) => name.slice(name.indexOf("/") + 1));
  return a === b && a !== undefined && a !== "" ? a : null;
}

/** What a line says of a file's name: `diff -u` puts a time behind it. */
export function nameIn(line: string): string {
  const [name = ""] = line.split("\t", 1);
  return name;
}

/**
 * The name in the lines `--- a/NAME` and `+++ b/NAME` of a diff that is not git's.
 * @returns null where they name two files
 */
export function stripped(before: string, after: string): string | null {
  const [a, b] = [before, after].map((name) => unquoteGitName(nameIn(name)));
  if (a === undefined || b === undefined || (a === NONE && b === NONE)) return null;
  if (a === NONE) return b.replace(/^b\//, "");
  if (b === NONE) return a.replace(/^a\//, "");
  if (a === b) return a;
  return a.startsWith("a/") && b === `b/${a.slice(2)}` ? a.slice(2) : null;
}

const NONE = "/dev/null";

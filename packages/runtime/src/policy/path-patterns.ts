import { foldName, isSovereignError, quoted } from "@sovereign/core";
import { foldedWork, matchesFolded } from "./folded-glob.ts";
import { matchesGlob } from "./glob.ts";
import { resolvePath } from "./paths.ts";

/**
 * True where a pattern of `deny_paths` is meant for a path. What is denied is denied in every
 * spelling that another file system takes for the same name; a pattern that ends in a plain name
 * denies what is below that folder, too.
 *
 * @param pattern as the policy has it
 * @param path resolved
 */
export function deniesPath(pattern: string, path: string): boolean {
  return (
    attempts(pattern, path).some(([glob, text]) => matchesGlob(glob, text)) ||
    oddSpellings(pattern, path).some((glob) => matchesFolded(glob, path))
  );
}

/** What {@link deniesPath} costs at most: characters of patterns times characters of text. */
export function denialWork(pattern: string, path: string): number {
  const plain = attempts(pattern, path).map(([glob, text]) => glob.length * text.length);
  const odd = oddSpellings(pattern, path).map((glob) => foldedWork(glob, path));
  return [...plain, ...odd].reduce((sum, one) => sum + one, 0);
}

/** Letters, digits and what else folds to itself, so that a path folds as its characters do. */
const EVEN = /^[\x20-\x39\x3b-\x7e]*$/;

/** The patterns that are held against each spelling of a path, where more than letters are folded. */
function oddSpellings(pattern: string, path: string): string[] {
  if (EVEN.test(pattern) && EVEN.test(path)) return [];
  return withBelow(plainPattern(pattern), path).map(([glob]) => glob);
}

type Attempt = readonly [glob: string, text: string];

/** Everything that is matched for one pattern and path: as they are written, and folded. */
function attempts(pattern: string, path: string): Attempt[] {
  const glob = plainPattern(pattern);
  const folded = foldText(glob);
  const foldedPath = path.split("/").map(foldName).join("/");
  const asWritten = withBelow(glob, path);
  if (folded === glob && foldedPath === path) return asWritten;
  return [...asWritten, ...withBelow(folded, foldedPath)];
}

function withBelow(glob: string, path: string): Attempt[] {
  const isPlain = !/[*?]/.test(glob.slice(glob.lastIndexOf("/") + 1));
  return isPlain
    ? [
        [glob, path],
        [`${glob}/**`, path],
      ]
    : [[glob, path]];
}

/** A pattern's letters, folded as names are; its wildcards and its `/` are what they were. */
function foldText(glob: string): string {
  return glob.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC");
}

/**
 * What a pattern is meant for where people write it as they do elsewhere: `/x` and `./x` are `x`,
 * and `x/` is all that is in `x`. Paths have none of these forms, so nothing else could be meant.
 */
export function plainPattern(pattern: string): string {
  const glob = pattern
    .normalize("NFC")
    .replaceAll(/\/{2,}/g, "/")
    .replace(/^(?:\.?\/)+/, "")
    .replaceAll(/\/(?:\.\/)+/g, "/");
  return glob.endsWith("/") ? `${glob}**` : glob;
}

/**
 * Why no path can ever match a pattern; null where one can. A path that matches has letters where
 * the pattern has wildcards, so that one which stands for all of them is tried.
 */
export function neverMatches(pattern: string): string | null {
  const path = pattern.replaceAll("**/", "").replaceAll(/\*+|\?/g, "a");
  try {
    resolvePath(path === "" ? "a" : path);
    return null;
  } catch (error) {
    if (!isSovereignError(error, "ERR_PATH_REFUSED")) throw error;
    return error.message.replace(/^.*: expected /, "expected ").replace(/\.$/, "");
  }
}

/**
 * Why a pattern of `deny_paths` would not deny what its writer meant; null where it would. Patterns
 * of other languages that ours does not have would be taken as plain characters.
 */
export function misleads(pattern: string): string | null {
  if (pattern.includes("\\")) {
    return `names are joined by "/": write ${quoted(pattern.replaceAll("\\", "/"))}`;
  }
  if (/\{[^{},]*,[^{}]*\}/.test(pattern))
    return "braces stand for themselves: write one pattern each";
  if (pattern.startsWith("!")) return 'no pattern takes another back: leave out the "!"';
  return null;
}

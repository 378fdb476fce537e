import { foldCharacter } from "@sovereign/core";
import { beginning, patternParts, type Reached, readOn } from "./glob.ts";

/**
 * True where a pattern matches some spelling of a path that a file system takes for the same name.
 *
 * Each character is folded by itself, and wildcards still stand for characters as they are written:
 * where the whole path is folded first, `?` no longer stands for a `ß` that became two letters, and
 * a `:` takes away the end that the pattern names. What a file system leaves out of a name, its end
 * of dots and spaces and of a stream's name, may be there or not.
 *
 * Linear in pattern times path, as {@link foldedWork} counts it.
 */
export function matchesFolded(pattern: string, path: string): boolean {
  const parts = foldedParts(pattern);
  let reached = beginning(parts);
  for (const [at, name] of path.split("/").entries()) {
    if (at > 0) reached = readOn(parts, reached, "/");
    if (reached.size === 0) return false;
    reached = readName(parts, reached, name);
  }
  return reached.has(parts.length);
}

/** What {@link matchesFolded} costs: parts of the pattern times characters that are read. */
export function foldedWork(pattern: string, path: string): number {
  const units = Array.from(path, foldCharacter).reduce((sum, one) => sum + one.length, 0);
  return foldedParts(pattern).length * (units + path.length);
}

/** A character that no part of a pattern is: wildcards alone stand for it. */
const ANY = "\0";

const WILDCARD = /^[*?]/;

function foldedParts(pattern: string): string[] {
  return patternParts(pattern).flatMap((part) =>
    WILDCARD.test(part) ? [part] : foldCharacter(part),
  );
}

function readName(parts: readonly string[], before: Reached, name: string): Reached {
  const characters = Array.from(name, foldCharacter);
  const end = endOfName(characters);
  let reached = before;
  let without: Reached = new Set();
  for (const [at, units] of characters.entries()) {
    if (at === end) without = reached;
    reached = readCharacter(parts, reached, units);
  }
  return both(reached, without);
}

/** Where begins what a file system may leave out: a stream's name, and dots and spaces before. */
function endOfName(characters: readonly (readonly string[])[]): number {
  const stream = characters.findIndex((units) => units.includes(":"));
  let end = stream < 0 ? characters.length : stream;
  while (end > 0 && characters[end - 1]?.every((unit) => unit === "." || unit === " ")) end--;
  return end;
}

/** As one character, whatever it is, or as those that it folds to, of which none parts names. */
function readCharacter(parts: readonly string[], reached: Reached, units: string[]): Reached {
  let byUnits = reached;
  for (const unit of units) {
    const next = readOn(parts, byUnits, unit);
    byUnits = unit === "/" ? both(next, readOn(parts, byUnits, ANY)) : next;
  }
  return both(readOn(parts, reached, ANY), byUnits);
}

function both(one: Reached, other: Reached): Reached {
  return new Set([...one, ...other]);
}

import { digestOf } from "../digest/index.ts";
import type { JsonObject, JsonValue } from "../formats/index.ts";
import { canonicalize } from "../json/index.ts";

/** One claim, by its path such as `evaluation.correct`; null where a side has none. */
export type ClaimDifference = { claim: string; claimed: JsonValue; expected: JsonValue };

const DIFFERENCES_MAX = 16;
const VALUE_CHARACTERS_MAX = 200;

/**
 * Where claims differ from what was expected, at most 16 places, in the order of the paths.
 *
 * @param claimed untrusted; long values are given as `sha256:<digest>`
 * @param scope `known` looks only at what `expected` names, `all` at both sides
 */
export function differencesOf(
  claimed: JsonObject,
  expected: JsonObject,
  scope: "all" | "known",
): ClaimDifference[] {
  const found: ClaimDifference[] = [];
  collect(claimed, expected, scope, [], found);
  return found;
}

function collect(
  claimed: JsonValue | undefined,
  expected: JsonValue | undefined,
  scope: "all" | "known",
  path: readonly string[],
  found: ClaimDifference[],
): void {
  if (found.length >= DIFFERENCES_MAX) return;
  if (
    isBranch(claimed) &&
    isBranch(expected) &&
    Array.isArray(claimed) === Array.isArray(expected)
  ) {
    const left = new Map(Object.entries(claimed));
    const right = new Map(Object.entries(expected));
    const keys = scope === "known" ? right.keys() : new Set([...left.keys(), ...right.keys()]);
    for (const key of [...keys].sort()) {
      collect(left.get(key), right.get(key), scope, [...path, key], found);
    }
    return;
  }
  if (textOf(claimed) === textOf(expected)) return;
  found.push({ claim: path.join("."), claimed: brief(claimed), expected: brief(expected) });
}

function isBranch(value: JsonValue | undefined): value is JsonObject | JsonValue[] {
  return typeof value === "object" && value !== null;
}

function textOf(value: JsonValue | undefined): string | undefined {
  return value === undefined ? undefined : canonicalize(value);
}

function brief(value: JsonValue | undefined): JsonValue {
  if (value === undefined) return null;
  return canonicalize(value).length > VALUE_CHARACTERS_MAX ? `sha256:${digestOf(value)}` : value;
}

import { canonicalize } from "../json/index.ts";
import type { JsonValue } from "../formats/index.ts";

/** One place where what was said is not what was found. */
export interface Difference {
  /** Such as `diffs.0.checksum_after`. */
  readonly field: string;
  /** As JSON, cut; `nothing` where it is not there. */
  readonly claimed: string;
  readonly found: string;
}

const SHOWN = 160;
const DIFFERENCES_MAX = 200;

/** Every place where two values differ, the deepest that says it. */
export function differencesOf(
  claimed: JsonValue | undefined,
  found: JsonValue | undefined,
  field = "",
): Difference[] {
  const differences: Difference[] = [];
  collect(claimed, found, field, differences);
  return differences;
}

function collect(
  claimed: JsonValue | undefined,
  found: JsonValue | undefined,
  field: string,
  into: Difference[],
): void {
  if (into.length >= DIFFERENCES_MAX || shown(claimed, false) === shown(found, false)) return;
  if (isHolder(claimed) && isHolder(found) && Array.isArray(claimed) === Array.isArray(found)) {
    const one = claimed as Readonly<Record<string, JsonValue>>;
    const other = found as Readonly<Record<string, JsonValue>>;
    for (const key of new Set([...Object.keys(one), ...Object.keys(other)])) {
      const place = field === "" ? key : `${field}.${key}`;
      collect(own(one, key), own(other, key), place, into);
    }
    return;
  }
  into.push({ field, claimed: shown(claimed), found: shown(found) });
}

function own(holder: Readonly<Record<string, JsonValue>>, key: string): JsonValue | undefined {
  return Object.hasOwn(holder, key) ? holder[key] : undefined;
}

function isHolder(value: JsonValue | undefined): value is object & JsonValue {
  return typeof value === "object" && value !== null;
}

function shown(value: JsonValue | undefined, cut = true): string {
  if (value === undefined) return "nothing";
  const text = canonicalize(value);
  return cut && text.length > SHOWN ? `${text.slice(0, SHOWN).toWellFormed()}…` : text;
}

/** A difference in words. */
export function differenceText({ field, claimed, found }: Difference): string {
  return `${field} says ${claimed}, found ${found}`;
}

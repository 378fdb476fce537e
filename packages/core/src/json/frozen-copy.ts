import { SovereignError } from "../errors/index.ts";
import type { JsonValue } from "../formats/common.ts";
import { JSON_DEPTH_MAX } from "./canonicalize.ts";
import { keepForm, keptForm } from "./kept-form.ts";

/** How many values a copy may hold, all together: what is larger is no request. */
const VALUES_MAX = 100_000;

/**
 * A deep, frozen copy of a value that a caller holds. Each property is read exactly once, so that a
 * getter or a proxy cannot answer one reader so and the next one otherwise; and nothing that the
 * caller does afterwards changes what was judged. Its canonical form and its digest are made once. What
 * is such a copy already is not copied again.
 *
 * @param value untrusted: may be a proxy, may throw when it is read
 * @throws ERR_JSON_UNSUPPORTED for what JSON cannot hold, and for what throws when it is read
 * @throws ERR_JSON_TOO_DEEP, ERR_JSON_TOO_LARGE
 */
export function frozenCopy(value: unknown): JsonValue {
  if (keptForm(value) !== undefined) return value as JsonValue;
  try {
    const copied = copy(value, 0, { left: VALUES_MAX });
    if (typeof copied === "object" && copied !== null) keepForm(copied);
    return copied;
  } catch (cause) {
    if (cause instanceof SovereignError) throw cause;
    throw new SovereignError("ERR_JSON_UNSUPPORTED", "The value cannot be read.", {}, cause);
  }
}

function copy(value: unknown, depth: number, budget: { left: number }): JsonValue {
  if (--budget.left < 0) {
    const text = `The value holds more than ${VALUES_MAX} values.`;
    throw new SovereignError("ERR_JSON_TOO_LARGE", text);
  }
  switch (typeof value) {
    case "string":
      if (!value.isWellFormed()) throw unsupported("a string with a lone surrogate");
      return value;
    case "number":
      if (!Number.isFinite(value)) throw unsupported("a number that is not finite");
      return value;
    case "boolean":
      return value;
    case "object":
      if (value === null) return null;
      if (depth >= JSON_DEPTH_MAX) {
        throw new SovereignError("ERR_JSON_TOO_DEEP", `Nested deeper than ${JSON_DEPTH_MAX}.`);
      }
      return Array.isArray(value)
        ? copyArray(value, depth, budget)
        : copyObject(value, depth, budget);
    default:
      throw unsupported(typeof value);
  }
}

function copyArray(items: readonly unknown[], depth: number, budget: { left: number }): JsonValue {
  const { length } = items;
  if (length > budget.left) {
    throw new SovereignError("ERR_JSON_TOO_LARGE", `The list holds ${String(length)} values.`);
  }
  const out: JsonValue[] = [];
  for (let at = 0; at < length; at++) out.push(copy(items[at], depth + 1, budget));
  return Object.freeze(out) as JsonValue;
}

function copyObject(object: object, depth: number, budget: { left: number }): JsonValue {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null)
    throw unsupported("an object of a class");
  const fields = Object.keys(object).map((key): [string, JsonValue] => {
    if (!key.isWellFormed()) throw unsupported("a key with a lone surrogate");
    return [key, copy((object as Record<string, unknown>)[key], depth + 1, budget)];
  });
  // `fromEntries` defines each key, so that `__proto__` is a key like any other.
  return Object.freeze(Object.fromEntries(fields));
}

function unsupported(what: string): SovereignError {
  return new SovereignError("ERR_JSON_UNSUPPORTED", `JSON can not hold ${what}.`);
}

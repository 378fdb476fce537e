/**
 * Freeze a plain value of ours and all that it holds, in place: whoever is handed it can read it,
 * and nobody can change it for the others.
 *
 * @param value a tree of plain objects and arrays
 */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const one of Object.values(value)) deepFreeze(one);
  return Object.freeze(value);
}

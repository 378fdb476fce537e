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

/**
 * Fix a class whose objects programs hold: none of its methods is put in the place of another. Its
 * constructor freezes each object, which then gets no method of its own.
 */
export function fixClass(one: { readonly prototype: object }): void {
  Object.freeze(one.prototype);
  Object.freeze(one);
}

/** Refuse to make an object of a class that is derived from one of ours: it would bring its own methods. */
export function refuseDerived(made: unknown, one: { readonly name: string }): void {
  if (made !== one) throw new TypeError(`No class is derived from ${one.name}.`);
}

/** For whoever hands in an object that stands for one of ours: a copy, a proxy, one of its prototype. */
export function notMade(what: string): TypeError {
  return new TypeError(`Expected ${what} that the runtime made itself, found another object.`);
}

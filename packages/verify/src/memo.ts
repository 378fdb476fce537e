type Made<T> = { readonly value: T } | { readonly error: unknown };

/**
 * What was made once for each name. A failure is kept, too: whoever writes evidence may name what is
 * wrong as often as what is right.
 */
export class Memo<T> {
  readonly #made = new Map<string, Made<T>>();

  /** @throws what `make` threw, the first time and each time after it */
  get(name: string, make: () => T): T {
    const known = this.#made.get(name);
    const made = known ?? done(make);
    if (known === undefined) this.#made.set(name, made);
    if ("error" in made) throw made.error;
    return made.value;
  }

  /** What was made; undefined where nothing was, or it failed. */
  known(name: string): T | undefined {
    const made = this.#made.get(name);
    return made === undefined || "error" in made ? undefined : made.value;
  }
}

function done<T>(make: () => T): Made<T> {
  try {
    return { value: make() };
  } catch (error) {
    return { error };
  }
}

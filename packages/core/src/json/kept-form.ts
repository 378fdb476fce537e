/** The canonical form of one value, and its digest: each is made when it is first asked for. */
export interface KeptForm {
  text: string | null;
  digest: string | null;
  /** How deep the value nests: 1 for an object without others. */
  levels: number;
}

/**
 * INVARIANT: a key of this map is a deeply frozen tree of plain objects and arrays. Nobody can change
 * it, so what was made of it once is what would be made of it again.
 */
const forms = new WeakMap<object, KeptForm>();

/**
 * Let the canonical form of a value be kept beside it.
 *
 * For `frozenCopy` alone: the value is one that it made, so nobody holds a way to change it.
 */
export function keepForm(frozen: object): void {
  forms.set(frozen, { text: null, digest: null, levels: 0 });
}

/** What is kept beside exactly this value; undefined for one that is not a frozen copy of ours. */
export function keptForm(value: unknown): KeptForm | undefined {
  return typeof value === "object" && value !== null ? forms.get(value) : undefined;
}

import {
  emptyRoot,
  leafHash,
  nodeHash,
  type RangeRoot,
  splitOf,
  utf8Encode,
} from "@sovereign/core";

/** Hashes of leaves that all differ. */
export const LEAVES: readonly Uint8Array[] = Array.from({ length: 140 }, (_, index) =>
  leafHash(utf8Encode(`leaf ${index}`)),
);

export function placed(index: number): { index: number; hash: Uint8Array } {
  return { index, hash: LEAVES[index] as Uint8Array };
}

const known = new Map<string, Uint8Array>();

/** The textbook definition (RFC 6962 §2.1), to hold everything else against. */
export const rootOf: RangeRoot = (from, to) => {
  if (to === from) return emptyRoot();
  if (to - from === 1) return LEAVES[from] as Uint8Array;
  const id = `${from}-${to}`;
  const found = known.get(id);
  if (found !== undefined) return found;
  const middle = from + splitOf(to - from);
  const root = nodeHash(rootOf(from, middle), rootOf(middle, to));
  known.set(id, root);
  return root;
};

/** The one leaf of the endless tree below. */
export const SAME = leafHash(utf8Encode("same"));
const bySize = new Map<number, Uint8Array>([[1, SAME]]);

/** Subtrees of a tree whose leaves are all alike, so that any size to 2^53 - 1 is at hand. */
export const sameRoot: RangeRoot = (from, to) => {
  const size = to - from;
  const found = bySize.get(size);
  if (found !== undefined) return found;
  const split = splitOf(size);
  const root = nodeHash(sameRoot(0, split), sameRoot(split, size));
  bySize.set(size, root);
  return root;
};

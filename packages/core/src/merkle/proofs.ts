import { equalBytes } from "../bytes/index.ts";
import { SovereignError } from "../errors/index.ts";
import { emptyRoot, HASH_BYTES, nodeHash, splitOf } from "./tree.ts";

/**
 * The root hash of the leaves `from` … `to - 1`, where that range is a subtree of the tree.
 * A tile store answers it from stored nodes; a test from the leaves.
 */
export type RangeRoot = (from: number, to: number) => Uint8Array;

/** A leaf with its place in the tree. */
export interface PlacedLeaf {
  readonly index: number;
  readonly hash: Uint8Array;
}

const SIZE_MAX = Number.MAX_SAFE_INTEGER;

/** The audit path of one leaf (RFC 6962 §2.1.1). */
export function proveInclusion(size: number, index: number, rangeRoot: RangeRoot): Uint8Array[] {
  assertIndex(index, size);
  const path: Uint8Array[] = [];
  let from = 0;
  let to = size;
  while (to - from > 1) {
    const middle = from + splitOf(to - from);
    if (index < middle) {
      path.push(rangeRoot(middle, to));
      to = middle;
    } else {
      path.push(rangeRoot(from, middle));
      from = middle;
    }
  }
  return path.reverse();
}

/**
 * Verify that a leaf stands at an index of the tree with this size and root.
 *
 * @throws ERR_PROOF_MALFORMED for an index outside the tree or a path of the wrong length
 * @throws ERR_PROOF_INVALID when the path does not lead to the root
 * @see RFC 9162 §2.1.3.2
 */
export function verifyInclusion(
  root: Uint8Array,
  size: number,
  leaf: PlacedLeaf,
  path: readonly Uint8Array[],
): void {
  checkSize(size);
  checkIndex(leaf.index, size);
  checkHashes([root, leaf.hash, ...path]);
  const proof = [...path];
  const computed = climb(0, size, leaf, proof);
  if (proof.length > 0) throw malformed("the path is too long");
  compare(computed, root);
}

/** Consumes the path from its end, because it was written from the leaf upwards. */
function climb(from: number, to: number, leaf: PlacedLeaf, proof: Uint8Array[]): Uint8Array {
  if (to - from === 1) return leaf.hash;
  const middle = from + splitOf(to - from);
  const sibling = proof.pop();
  if (sibling === undefined) throw malformed("the path is too short");
  return leaf.index < middle
    ? nodeHash(climb(from, middle, leaf, proof), sibling)
    : nodeHash(sibling, climb(middle, to, leaf, proof));
}

/** The proof that a tree of `size1` leaves is the beginning of one of `size2` (RFC 6962 §2.1.2). */
export function proveConsistency(size1: number, size2: number, rangeRoot: RangeRoot): Uint8Array[] {
  if (size1 < 1 || size1 > size2) throw new RangeError("sizes out of order");
  const path: Uint8Array[] = [];
  let from = 0;
  let to = size2;
  let whole = true;
  while (to !== size1) {
    const middle = from + splitOf(to - from);
    if (size1 <= middle) {
      path.push(rangeRoot(middle, to));
      to = middle;
    } else {
      path.push(rangeRoot(from, middle));
      from = middle;
      whole = false;
    }
  }
  // The old tree itself is known to the verifier, and is left out.
  if (!whole) path.push(rangeRoot(from, to));
  return path.reverse();
}

/**
 * Verify that the tree (size1, root1) is the beginning of (size2, root2).
 *
 * The empty tree is refused as a beginning: it is one of every tree, so a proof from it says
 * nothing. A caller that holds no earlier tree has nothing to compare.
 *
 * @throws ERR_PROOF_MALFORMED, ERR_PROOF_INVALID
 * @see RFC 9162 §2.1.4.2
 */
export function verifyConsistency(
  size1: number,
  root1: Uint8Array,
  size2: number,
  root2: Uint8Array,
  path: readonly Uint8Array[],
): void {
  checkSize(size1);
  checkSize(size2);
  if (size1 < 1 || size1 > size2) throw malformed(`sizes ${size1} and ${size2} are out of order`);
  if (size1 === size2) {
    if (path.length > 0) throw malformed("equal trees need no path");
    // No hash is made, so that whatever the roots are, they are compared and no more.
    compare(root1, root2);
    return;
  }
  checkHashes([root1, root2, ...path]);
  const proof = [...path];
  const whole = isPowerOfTwo(size1);
  const [old, now] = rebuild(0, size2, size1, whole ? root1 : null, proof);
  if (proof.length > 0) throw malformed("the path is too long");
  compare(old, root1);
  compare(now, root2);
}

/** Rebuilds both roots from the path, which is consumed from its end. */
function rebuild(
  from: number,
  to: number,
  size1: number,
  known: Uint8Array | null,
  proof: Uint8Array[],
): [Uint8Array, Uint8Array] {
  if (to === size1) {
    const node = from === 0 && known !== null ? known : proof.pop();
    if (node === undefined) throw malformed("the path is too short");
    return [node, node];
  }
  const middle = from + splitOf(to - from);
  const sibling = proof.pop();
  if (sibling === undefined) throw malformed("the path is too short");
  if (size1 <= middle) {
    const [old, now] = rebuild(from, middle, size1, known, proof);
    return [old, nodeHash(now, sibling)];
  }
  const [old, now] = rebuild(middle, to, size1, known, proof);
  return [nodeHash(sibling, old), nodeHash(sibling, now)];
}

/**
 * One proof for many leaves: the roots of the largest subtrees that hold none of them, from left
 * to right.
 *
 * @param indices strictly increasing
 * @see docs/spec/merkle.md "Set inclusion"
 */
export function proveInclusionSet(
  size: number,
  indices: readonly number[],
  rangeRoot: RangeRoot,
): Uint8Array[] {
  checkSize(size);
  checkOrder(indices, size);
  const proof: Uint8Array[] = [];
  const walk = (from: number, to: number, first: number, last: number): void => {
    if (first === last) {
      proof.push(rangeRoot(from, to));
    } else if (to - from > 1) {
      const middle = from + splitOf(to - from);
      const cut = lowerBound(indices, middle, first, last);
      walk(from, middle, first, cut);
      walk(middle, to, cut, last);
    }
  };
  if (size > 0) walk(0, size, 0, indices.length);
  return proof;
}

/**
 * Verify that all these leaves stand at their indices in the tree with this size and root.
 *
 * @param leaves untrusted; strictly increasing by index
 * @throws ERR_PROOF_MALFORMED, ERR_PROOF_INVALID
 */
export function verifyInclusionSet(
  root: Uint8Array,
  size: number,
  leaves: readonly PlacedLeaf[],
  proof: readonly Uint8Array[],
): void {
  checkSize(size);
  const indices = leaves.map((leaf) => leaf.index);
  checkOrder(indices, size);
  checkHashes([root]);
  checkHashes(proof);
  for (const leaf of leaves) checkHashes([leaf.hash]);
  let used = 0;
  const walk = (from: number, to: number, first: number, last: number): Uint8Array => {
    if (first === last) {
      const hash = proof[used++];
      if (hash === undefined) throw malformed("the proof is too short");
      return hash;
    }
    if (to - from === 1) return (leaves[first] as PlacedLeaf).hash;
    const middle = from + splitOf(to - from);
    const cut = lowerBound(indices, middle, first, last);
    return nodeHash(walk(from, middle, first, cut), walk(middle, to, cut, last));
  };
  const computed = size === 0 ? emptyRoot() : walk(0, size, 0, leaves.length);
  if (used !== proof.length) throw malformed("the proof is too long");
  compare(computed, root);
}

/** The first position in [first, last) whose index is at least `bound`. */
function lowerBound(
  indices: readonly number[],
  bound: number,
  first: number,
  last: number,
): number {
  let low = first;
  let high = last;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((indices[middle] as number) < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compare(computed: Uint8Array, root: Uint8Array): void {
  if (equalBytes(computed, root)) return;
  throw new SovereignError("ERR_PROOF_INVALID", "The proof does not lead to the root.");
}

function checkSize(size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) throw malformed(`a size of ${size}`);
}

function checkIndex(index: number, size: number): void {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw malformed(`index ${index} is outside a tree of ${size}`);
  }
}

function checkOrder(indices: readonly number[], size: number): void {
  let last = -1;
  for (const index of indices) {
    checkIndex(index, size);
    if (index <= last) throw malformed("indices are not strictly increasing");
    last = index;
  }
}

function checkHashes(hashes: readonly Uint8Array[]): void {
  if (hashes.some((hash) => hash.length !== HASH_BYTES)) throw malformed("a hash is not 32 bytes");
}

function assertIndex(index: number, size: number): void {
  if (!(index >= 0 && index < size && size <= SIZE_MAX)) throw new RangeError("index out of tree");
}

function isPowerOfTwo(size: number): boolean {
  return splitOf(size * 2) === size;
}

function malformed(found: string): SovereignError {
  return new SovereignError("ERR_PROOF_MALFORMED", `Not a proof for this tree: ${found}.`);
}

import { fixClass } from "../json/index.ts";
import { concatBytes } from "../bytes/index.ts";
import { sha256 } from "../digest/index.ts";

/** The length of a hash in bytes. */
export const HASH_BYTES = 32;

// Hashing is synchronous, so that one buffer serves every call: to allocate one each time costs
// more than the hash. It holds the prefix and the largest entry.
const scratch = new Uint8Array(65_536);

/** The root of the tree without leaves: SHA-256 of nothing (RFC 6962 §2.1). */
export function emptyRoot(): Uint8Array {
  return sha256(new Uint8Array());
}

/** SHA-256(0x00 || data) (RFC 6962 §2.1). */
export function leafHash(data: Uint8Array): Uint8Array {
  if (data.length >= scratch.length) return sha256(concatBytes(Uint8Array.of(0x00), data));
  scratch[0] = 0x00;
  scratch.set(data, 1);
  return sha256(scratch.subarray(0, 1 + data.length));
}

/**
 * SHA-256(0x01 || left || right) (RFC 6962 §2.1).
 * @param left,right 32 bytes each: with other lengths two pairs could have the same node
 */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  if (left.length !== HASH_BYTES || right.length !== HASH_BYTES) throw notHash();
  scratch[0] = 0x01;
  scratch.set(left, 1);
  scratch.set(right, 1 + HASH_BYTES);
  return sha256(scratch.subarray(0, 1 + 2 * HASH_BYTES));
}

/** The largest power of two below `size`: where a tree of this size splits. `size` is above 1. */
export function splitOf(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}

/**
 * The right edge of a growing tree: enough to append leaves and to tell the root, in memory that
 * grows with the logarithm of the size. Nodes are the roots of the full subtrees, largest first.
 */
export class Frontier {
  #size: number;
  readonly #nodes: Uint8Array[];

  /** @param nodes of a tree of `size` leaves, as {@link Frontier.nodes} gave them */
  constructor(size = 0, nodes: readonly Uint8Array[] = []) {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError("a size is a count");
    if (nodes.length !== onesIn(size)) throw new RangeError("frontier nodes do not fit the size");
    if (nodes.some((node) => node.length !== HASH_BYTES)) throw notHash();
    this.#size = size;
    this.#nodes = [...nodes];
    Object.freeze(this);
  }

  get size(): number {
    return this.#size;
  }

  get nodes(): readonly Uint8Array[] {
    return [...this.#nodes];
  }

  /** Append the hash of the next leaf. */
  append(hash: Uint8Array): void {
    if (hash.length !== HASH_BYTES) throw notHash();
    let node = hash;
    // Each full subtree of equal height joins with the one that stands left of it.
    for (let rest = this.#size; rest % 2 === 1; rest = (rest - 1) / 2) {
      node = nodeHash(this.#nodes.pop() as Uint8Array, node);
    }
    this.#nodes.push(node);
    this.#size += 1;
  }

  root(): Uint8Array {
    let root = this.#nodes.at(-1);
    if (root === undefined) return emptyRoot();
    for (let at = this.#nodes.length - 2; at >= 0; at--) {
      root = nodeHash(this.#nodes[at] as Uint8Array, root);
    }
    return root;
  }
}

fixClass(Frontier);

function onesIn(size: number): number {
  let ones = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) ones += rest % 2;
  return ones;
}

function notHash(): RangeError {
  return new RangeError(`a hash has ${HASH_BYTES} bytes`);
}

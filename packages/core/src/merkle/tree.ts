import { concatBytes } from "../bytes/index.ts";
import { sha256 } from "../digest/index.ts";

const LEAF = Uint8Array.of(0x00);
const NODE = Uint8Array.of(0x01);

/** The root of the tree without leaves: SHA-256 of nothing (RFC 6962 §2.1). */
export function emptyRoot(): Uint8Array {
  return sha256(new Uint8Array());
}

/** SHA-256(0x00 || data) (RFC 6962 §2.1). */
export function leafHash(data: Uint8Array): Uint8Array {
  return sha256(concatBytes(LEAF, data));
}

/** SHA-256(0x01 || left || right) (RFC 6962 §2.1). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(concatBytes(NODE, left, right));
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
    if (nodes.length !== onesIn(size)) throw new RangeError("frontier nodes do not fit the size");
    this.#size = size;
    this.#nodes = [...nodes];
  }

  get size(): number {
    return this.#size;
  }

  get nodes(): readonly Uint8Array[] {
    return this.#nodes;
  }

  /** Append the hash of the next leaf. */
  append(hash: Uint8Array): void {
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

function onesIn(size: number): number {
  let ones = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) ones += rest % 2;
  return ones;
}

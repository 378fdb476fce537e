import {
  emptyRoot,
  Frontier,
  leafHash,
  nodeHash,
  proveConsistency,
  proveInclusion,
  proveInclusionSet,
  SovereignError,
  splitOf,
  utf8Encode,
  verifyConsistency,
  verifyInclusion,
  verifyInclusionSet,
} from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const leaves = Array.from({ length: 140 }, (_, index) => leafHash(utf8Encode(`leaf ${index}`)));

/** The textbook definition (RFC 6962 §2.1), to hold the incremental one against. */
function rootOf(from: number, to: number): Uint8Array {
  if (to === from) return emptyRoot();
  if (to - from === 1) return leaves[from] as Uint8Array;
  const middle = from + splitOf(to - from);
  return nodeHash(rootOf(from, middle), rootOf(middle, to));
}

const leaf = (index: number): { index: number; hash: Uint8Array } => ({
  index,
  hash: leaves[index] as Uint8Array,
});

describe("the Merkle tree", () => {
  it("has the frontier's root for every size, also after being saved and restored", () => {
    let frontier = new Frontier();
    for (let size = 0; size <= 130; size++) {
      expect(frontier.root()).toEqual(rootOf(0, size));
      frontier = new Frontier(frontier.size, frontier.nodes);
      frontier.append(leaves[size] as Uint8Array);
    }
  });

  it("proves and verifies the inclusion of every leaf in every size to 130", () => {
    for (let size = 1; size <= 130; size++) {
      for (let index = 0; index < size; index += size > 40 ? 7 : 1) {
        verifyInclusion(rootOf(0, size), size, leaf(index), proveInclusion(size, index, rootOf));
      }
    }
  });

  it("proves and verifies consistency between every pair of sizes to 70", () => {
    for (let size2 = 1; size2 <= 70; size2++) {
      for (let size1 = 1; size1 <= size2; size1++) {
        const path = proveConsistency(size1, size2, rootOf);
        verifyConsistency(size1, rootOf(0, size1), size2, rootOf(0, size2), path);
      }
    }
  });

  it("proves and verifies any set of leaves, and refuses it with any one changed", () => {
    const sets = fc
      .integer({ min: 1, max: 130 })
      .chain((size) =>
        fc.tuple(fc.constant(size), fc.uniqueArray(fc.integer({ min: 0, max: size - 1 }))),
      );
    fc.assert(
      fc.property(sets, fc.nat(), ([size, unordered], which) => {
        const indices = unordered.sort((a, b) => a - b);
        const proof = proveInclusionSet(size, indices, rootOf);
        const placed = indices.map(leaf);
        verifyInclusionSet(rootOf(0, size), size, placed, proof);
        const pieces = [...placed.map((one) => one.hash), ...proof];
        const changed = which % pieces.length;
        const flip = (hash: Uint8Array, at: number): Uint8Array =>
          at === changed ? hash.map((byte, place) => (place === 5 ? byte ^ 1 : byte)) : hash;
        expect(() => {
          verifyInclusionSet(
            rootOf(0, size),
            size,
            placed.map((one, at) => ({ ...one, hash: flip(one.hash, at) })),
            proof.map((hash, at) => flip(hash, at + placed.length)),
          );
        }).toThrow(SovereignError);
      }),
    );
  });

  it.each([
    ["indices out of order", 8, [leaf(3), leaf(2)]],
    ["an index twice", 8, [leaf(3), leaf(3)]],
    ["an index outside the tree", 8, [leaf(8)]],
    ["a size that is no count", -1, []],
  ])("refuses a set with %s", (_, size, placed) => {
    expect(() => {
      verifyInclusionSet(rootOf(0, 8), size, placed, []);
    }).toThrow(expect.objectContaining({ code: "ERR_PROOF_MALFORMED" }));
  });

  it("refuses a proof with a hash too few or too many", () => {
    const proof = proveInclusionSet(9, [2, 5], rootOf);
    for (const bad of [proof.slice(1), [...proof, leaves[0] as Uint8Array]]) {
      expect(() => {
        verifyInclusionSet(rootOf(0, 9), 9, [leaf(2), leaf(5)], bad);
      }).toThrow(expect.objectContaining({ code: "ERR_PROOF_MALFORMED" }));
    }
  });

  it("tells an honest proof of another root from a malformed one", () => {
    expect(() => {
      verifyInclusion(rootOf(0, 9), 8, leaf(1), proveInclusion(8, 1, rootOf));
    }).toThrow(expect.objectContaining({ code: "ERR_PROOF_INVALID" }));
  });
});

import {
  emptyRoot,
  isSovereignError,
  type PlacedLeaf,
  proveConsistency,
  proveInclusion,
  proveInclusionSet,
  verifyConsistency,
  verifyInclusion,
  verifyInclusionSet,
} from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LEAVES, placed, rootOf, SAME, sameRoot } from "./trees.ts";

const code = (code: string): unknown => expect.objectContaining({ code });
const ascending = (indices: readonly number[]): number[] => [...indices].sort((a, b) => a - b);

const sets = fc.integer({ min: 1, max: 130 }).chain((size) =>
  fc.record({
    size: fc.constant(size),
    indices: fc.uniqueArray(fc.nat(size - 1)).map(ascending),
  }),
);

function accepts(
  size: number,
  leaves: readonly PlacedLeaf[],
  proof: readonly Uint8Array[],
): boolean {
  try {
    verifyInclusionSet(rootOf(0, size), size, leaves, proof);
    return true;
  } catch (error) {
    if (isSovereignError(error)) return false;
    throw error;
  }
}

describe("a set inclusion proof", () => {
  it("holds for none, one, each pair and all of the leaves, in every size to 40", () => {
    for (let size = 1; size <= 40; size++) {
      const all = Array.from({ length: size }, (_, index) => index);
      const pairs = all.flatMap((one) => all.slice(one + 1).map((two) => [one, two]));
      for (const indices of [[], all, ...all.map((one) => [one]), ...pairs]) {
        const proof = proveInclusionSet(size, indices, rootOf);
        expect(accepts(size, indices.map(placed), proof)).toBe(true);
      }
      expect(proveInclusionSet(size, all, rootOf)).toEqual([]);
      expect(proveInclusionSet(size, [], rootOf)).toEqual([rootOf(0, size)]);
    }
    expect(proveInclusionSet(0, [], rootOf)).toEqual([]);
    verifyInclusionSet(emptyRoot(), 0, [], []);
  });

  it("holds the hashes of the single paths, each once, for any set", () => {
    fc.assert(
      fc.property(sets, ({ size, indices }) => {
        const proof = proveInclusionSet(size, indices, rootOf);
        expect(accepts(size, indices.map(placed), proof)).toBe(true);
        if (indices.length !== 1) return;
        const path = proveInclusion(size, indices[0] as number, rootOf);
        expect(new Set(proof)).toEqual(new Set(path));
      }),
    );
  });

  it("is refused with any one bit changed, in a leaf or in the proof", () => {
    fc.assert(
      fc.property(sets, fc.nat(), fc.nat(255), ({ size, indices }, which, bit) => {
        const proof = proveInclusionSet(size, indices, rootOf);
        const changed = which % (indices.length + proof.length);
        const flip = (hash: Uint8Array, at: number): Uint8Array =>
          at !== changed
            ? hash
            : hash.map((byte, place) => (place === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
        const leaves = indices.map((index, at) => ({ index, hash: flip(LEAVES[index]!, at) }));
        const forged = proof.map((hash, at) => flip(hash, at + indices.length));
        expect(accepts(size, leaves, forged)).toBe(false);
      }),
    );
  });

  it("is refused with the leaves at any other places", () => {
    const moved = sets.chain(({ size, indices }) =>
      fc.record({
        size: fc.constant(size),
        indices: fc.constant(indices),
        other: fc.uniqueArray(fc.nat(size - 1), {
          minLength: indices.length,
          maxLength: indices.length,
        }),
      }),
    );
    fc.assert(
      fc.property(moved, ({ size, indices, other }) => {
        const places = ascending(other);
        fc.pre(indices.length > 0 && places.some((place, at) => place !== indices[at]));
        const leaves = places.map((index, at) => ({ index, hash: LEAVES[indices[at]!]! }));
        expect(accepts(size, leaves, proveInclusionSet(size, indices, rootOf))).toBe(false);
      }),
    );
  });

  it("is refused with a hash dropped, added or two of them swapped", () => {
    fc.assert(
      fc.property(sets, fc.nat(), fc.nat(), ({ size, indices }, one, two) => {
        const leaves = indices.map(placed);
        const proof = proveInclusionSet(size, indices, rootOf);
        expect(accepts(size, leaves, proof.toSpliced(one % (proof.length + 1), 0, SAME))).toBe(
          false,
        );
        if (proof.length === 0) return;
        const [a, b] = [one % proof.length, two % proof.length];
        expect(accepts(size, leaves, proof.toSpliced(a, 1))).toBe(false);
        const swapped = proof.with(a, proof[b]!).with(b, proof[a]!);
        expect(accepts(size, leaves, swapped)).toBe(a === b);
      }),
    );
  });

  const both = new Uint8Array([...LEAVES[0]!, ...LEAVES[1]!]);
  it.each<[string, number, readonly PlacedLeaf[], readonly Uint8Array[]]>([
    ["indices out of order", 8, [placed(3), placed(2)], []],
    ["an index twice", 8, [placed(3), placed(3)], []],
    ["an index outside the tree", 8, [placed(8)], []],
    ["an index below 0", 8, [{ index: -1, hash: SAME }], []],
    ["half an index", 8, [{ index: 0.5, hash: SAME }], []],
    ["an index that is no number", 8, [{ index: Number.NaN, hash: SAME }], []],
    ["a leaf in the empty tree", 0, [placed(0)], []],
    ["a size below 0", -1, [], []],
    ["a size beyond exact numbers", 2 ** 53, [], [SAME]],
    ["a hash too few", 9, [placed(2)], proveInclusionSet(9, [2], rootOf).slice(1)],
    ["a hash too many", 9, [placed(2)], [...proveInclusionSet(9, [2], rootOf), SAME]],
    ["a proof of nothing for the empty tree", 0, [], [SAME]],
    ["a proof hash of another length", 2, [placed(0)], [both.subarray(0, 31)]],
    [
      "leaves that share out their 64 bytes otherwise",
      2,
      [
        { index: 0, hash: both.slice(0, 31) },
        { index: 1, hash: both.slice(31) },
      ],
      [],
    ],
  ])("is malformed with %s", (_, size, leaves, proof) => {
    expect(() => {
      verifyInclusionSet(rootOf(0, 2), size, leaves, proof);
    }).toThrow(code("ERR_PROOF_MALFORMED"));
  });

  it("is malformed against a root of another length", () => {
    expect(() => {
      verifyInclusionSet(new Uint8Array(31), 1, [placed(0)], []);
    }).toThrow(code("ERR_PROOF_MALFORMED"));
    expect(() => {
      verifyInclusion(new Uint8Array(), 1, placed(0), []);
    }).toThrow(code("ERR_PROOF_MALFORMED"));
  });
});

describe("a tree of up to 2^53 - 1 leaves", () => {
  const SIZE_MAX = Number.MAX_SAFE_INTEGER;
  const size = fc.oneof(
    fc.integer({ min: 1, max: SIZE_MAX }),
    fc.constantFrom(SIZE_MAX, SIZE_MAX - 1, 2 ** 52, 2 ** 52 + 1, 2 ** 52 - 1, 2 ** 32 + 1),
  );

  it("has inclusion, consistency and set inclusion proofs like any other", () => {
    const trees = size.chain((size) =>
      fc.record({
        size: fc.constant(size),
        indices: fc
          .uniqueArray(fc.integer({ min: 0, max: size - 1 }), { minLength: 1, maxLength: 30 })
          .map(ascending),
        before: fc.integer({ min: 1, max: size }),
      }),
    );
    fc.assert(
      fc.property(trees, ({ size, indices, before }) => {
        const root = sameRoot(0, size);
        const leaves = indices.map((index) => ({ index, hash: SAME }));
        verifyInclusionSet(root, size, leaves, proveInclusionSet(size, indices, sameRoot));
        const index = indices[0] as number;
        const path = proveInclusion(size, index, sameRoot);
        expect(path.length).toBeLessThanOrEqual(53);
        verifyInclusion(root, size, { index, hash: SAME }, path);
        const old = sameRoot(0, before);
        verifyConsistency(before, old, size, root, proveConsistency(before, size, sameRoot));
      }),
    );
  });
});

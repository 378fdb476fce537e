import {
  emptyRoot,
  Frontier,
  hexEncode,
  leafHash,
  nodeHash,
  proveConsistency,
  proveInclusion,
  sha256,
  utf8Encode,
  verifyConsistency,
  verifyInclusion,
} from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { LEAVES, placed, rootOf } from "./trees.ts";

const SIZE_MAX = 130;

describe("the hashes", () => {
  it("have their prefixes, whatever the length of the leaf", () => {
    for (const length of [0, 1, 64, 65_534, 65_535, 65_536, 70_000]) {
      const data = new Uint8Array(length).fill(7);
      const prefixed = new Uint8Array(length + 1);
      prefixed.set(data, 1);
      expect(hexEncode(leafHash(data))).toBe(hexEncode(sha256(prefixed)));
    }
    const [left, right] = [LEAVES[0] as Uint8Array, LEAVES[1] as Uint8Array];
    const pair = Uint8Array.of(1, ...left, ...right);
    expect(hexEncode(nodeHash(left, right))).toBe(hexEncode(sha256(pair)));
  });

  it("take 32 bytes on either side of a node, and no other split of 64", () => {
    const both = new Uint8Array(64);
    for (const cut of [0, 31, 33]) {
      expect(() => nodeHash(both.slice(0, cut), both.slice(cut))).toThrow(RangeError);
    }
  });
});

describe("the frontier", () => {
  it("has the tree's root for every size, also after being saved and restored", () => {
    let frontier = new Frontier();
    for (let size = 0; size <= SIZE_MAX; size++) {
      expect(frontier.root()).toEqual(rootOf(0, size));
      frontier = new Frontier(frontier.size, frontier.nodes);
      frontier.append(LEAVES[size] as Uint8Array);
    }
  });

  it.each([
    ["too few nodes", 3, [LEAVES[0]]],
    ["too many nodes", 4, [LEAVES[0], LEAVES[1]]],
    ["a node that is no hash", 1, [new Uint8Array(31)]],
    ["a size that is no count", -1, []],
    ["half a leaf", 0.5, []],
  ])("is not restored from %s", (_, size, nodes) => {
    expect(() => new Frontier(size, nodes as Uint8Array[])).toThrow(RangeError);
    expect(() => {
      new Frontier().append(new Uint8Array(33));
    }).toThrow(RangeError);
  });
});

describe("the tree", () => {
  it("proves the inclusion of every leaf in every size to 130", () => {
    for (let size = 1; size <= SIZE_MAX; size++) {
      for (let index = 0; index < size; index++) {
        const path = proveInclusion(size, index, rootOf);
        expect(path.length).toBeLessThanOrEqual(Math.ceil(Math.log2(size)));
        verifyInclusion(rootOf(0, size), size, placed(index), path);
      }
    }
  });

  it("proves consistency between every pair of sizes to 130", () => {
    for (let size2 = 1; size2 <= SIZE_MAX; size2++) {
      for (let size1 = 1; size1 <= size2; size1++) {
        const path = proveConsistency(size1, size2, rootOf);
        verifyConsistency(size1, rootOf(0, size1), size2, rootOf(0, size2), path);
      }
    }
  });

  it("calls no two different trees consistent, whatever proof is at hand", () => {
    const other = nodeHash(LEAVES[1] as Uint8Array, LEAVES[0] as Uint8Array);
    for (let size2 = 3; size2 <= 40; size2++) {
      const path = proveConsistency(2, size2, rootOf);
      expect(() => {
        verifyConsistency(2, other, size2, rootOf(0, size2), path);
      }).toThrow(expect.objectContaining({ code: "ERR_PROOF_INVALID" }));
    }
  });

  it("tells an honest proof of another root from a malformed one", () => {
    expect(() => {
      verifyInclusion(rootOf(0, 9), 8, placed(1), proveInclusion(8, 1, rootOf));
    }).toThrow(expect.objectContaining({ code: "ERR_PROOF_INVALID" }));
  });

  it("asserts what its own side of a proof is asked for", () => {
    expect(() => proveInclusion(8, 8, rootOf)).toThrow(RangeError);
    expect(() => proveConsistency(0, 8, rootOf)).toThrow(RangeError);
    expect(() => proveConsistency(9, 8, rootOf)).toThrow(RangeError);
    expect(hexEncode(emptyRoot())).toBe(hexEncode(sha256(utf8Encode(""))));
  });
});

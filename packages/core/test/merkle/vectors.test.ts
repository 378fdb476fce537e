import {
  base64Decode,
  isSovereignError,
  verifyConsistency,
  verifyInclusion,
} from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { vectorFiles, vectorJson, vectorsMissing } from "../vectors.ts";

// transparency-dev/merkle testdata, Apache-2.0: 98 inclusion and 98 consistency proofs.

interface Inclusion {
  leafIdx: number;
  treeSize: number;
  root: string | null;
  leafHash: string | null;
  proof: string[] | null;
  wantErr: boolean;
}

interface Consistency {
  size1: number;
  size2: number;
  root1: string | null;
  root2: string | null;
  proof: string[] | null;
  wantErr: boolean;
}

const bytes = (text: string | null): Uint8Array => base64Decode(text ?? "");
const list = (texts: string[] | null): Uint8Array[] => (texts ?? []).map(bytes);

function accepts(verify: () => void): boolean {
  try {
    verify();
    return true;
  } catch (error) {
    if (isSovereignError(error)) return false;
    throw error;
  }
}

describe.skipIf(vectorsMissing !== null)(`Merkle vectors ${vectorsMissing ?? ""}`, () => {
  it("agrees with every inclusion vector", () => {
    const files = vectorFiles("rfc6962-merkle/inclusion");
    expect(files.length).toBe(98);
    for (const file of files) {
      const v = vectorJson(file) as Inclusion;
      const leaf = { index: v.leafIdx, hash: bytes(v.leafHash) };
      const ok = accepts(() => {
        verifyInclusion(bytes(v.root), v.treeSize, leaf, list(v.proof));
      });
      expect({ file, ok }).toEqual({ file, ok: !v.wantErr });
    }
  });

  it("agrees with every consistency vector, the empty tree as a beginning refused", () => {
    const files = vectorFiles("rfc6962-merkle/consistency");
    expect(files.length).toBe(98);
    for (const file of files) {
      const v = vectorJson(file) as Consistency;
      const ok = accepts(() => {
        verifyConsistency(v.size1, bytes(v.root1), v.size2, bytes(v.root2), list(v.proof));
      });
      expect({ file, ok }).toEqual({ file, ok: !v.wantErr });
    }
  });
});

import { checkSignature, hexDecode, isSovereignError, parsePublicKey } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { platform as node } from "../../src/platform/node.ts";
import { platform as portable } from "../../src/platform/portable.ts";
import { vectorJson, vectorsMissing } from "../vectors.ts";

// C2SP/wycheproof ed25519_test.json, Apache-2.0.

interface Suite {
  testGroups: {
    publicKey: { pk: string };
    tests: { tcId: number; msg: string; sig: string; result: "valid" | "invalid" }[];
  }[];
}

describe.skipIf(vectorsMissing !== null)(`Wycheproof Ed25519 ${vectorsMissing ?? ""}`, () => {
  const groups = (): Suite["testGroups"] =>
    (vectorJson("wycheproof/testvectors_v1/ed25519_test.json") as Suite).testGroups;

  it("agrees with all 151 cases", () => {
    let cases = 0;
    for (const { publicKey, tests } of groups()) {
      for (const { tcId, msg, sig, result } of tests) {
        cases++;
        const ok = check(hexDecode(publicKey.pk), hexDecode(msg), hexDecode(sig));
        expect({ tcId, ok }).toEqual({ tcId, ok: result === "valid" });
      }
    }
    expect(cases).toBe(151);
  });

  it.each([
    ["Node's", node],
    ["the portable", portable],
  ])("holds %s primitive to the same 151 cases", (_, platform) => {
    for (const { publicKey, tests } of groups()) {
      for (const { tcId, msg, sig, result } of tests) {
        const signature = hexDecode(sig);
        const ok =
          signature.length === 64 &&
          platform.verifyEd25519(hexDecode(publicKey.pk), hexDecode(msg), signature);
        expect({ tcId, ok }).toEqual({ tcId, ok: result === "valid" });
      }
    }
  });
});

function check(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return checkSignature(parsePublicKey(key), message, signature);
  } catch (error) {
    if (isSovereignError(error, "ERR_KEY_MALFORMED")) return false;
    throw error;
  }
}

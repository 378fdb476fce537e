import { describe, expect, it } from "vitest";
import { base64Decode, base64Encode } from "../../src/bytes/index.ts";

const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

function isAccepted(text: string): boolean {
  try {
    base64Decode(text);
    return true;
  } catch {
    return false;
  }
}

describe("base64 that somebody else wrote", () => {
  it("has one spelling: every end is read exactly where it is written so", () => {
    for (const a of LETTERS) {
      for (const b of LETTERS) {
        for (const tail of [`${a}${b}==`, `Q${a}${b}=`]) {
          const again = base64Encode(Buffer.from(tail, "base64"));
          for (const text of [tail, `AAAA${tail}`]) {
            expect([text, isAccepted(text)]).toEqual([text, again === tail]);
          }
        }
      }
    }
  });

  it.each([
    ...["=", "==", "====", "A===", "AA=A", "AAA", "AAA==", "AA==AAAA", "AA==\n", "AA\n=", " AA="],
    ...["AA-=", "AA_=", "ＡＡ==", "\u0000AA="],
  ])("refuses %j", (text) => {
    expect(isAccepted(text)).toBe(false);
  });

  it("reads what was written", () => {
    for (let size = 0; size < 9; size++) {
      const bytes = Uint8Array.from({ length: size }, (_, at) => 255 - at * 29);
      expect(base64Decode(base64Encode(bytes))).toEqual(bytes);
    }
  });
});

import { describe, expect, it } from "vitest";
import { Memo } from "../src/memo.ts";

describe("what was made once", () => {
  it("is not made again, whether it was made or failed", () => {
    const memo = new Memo<string>();
    let made = 0;
    const make = (): string => `value ${++made}`;
    const fail = (): string => {
      made += 1;
      throw new Error("it is wrong");
    };
    expect([memo.get("a", make), memo.get("a", make), memo.known("a")]).toEqual(
      Array.from({ length: 3 }, () => "value 1"),
    );
    for (let time = 0; time < 3; time++) expect(() => memo.get("b", fail)).toThrow("it is wrong");
    expect(memo.known("b")).toBeUndefined();
    expect(made).toBe(2);
  });
});

import { describe, expect, it } from "vitest";
import { parseBatchContent } from "../../src/batch/index.ts";

const invalid = expect.objectContaining({ code: "ERR_BATCH_INVALID" }) as unknown;

describe("what a program gives as a batch", () => {
  it("is what it was when it was given", () => {
    const argv = ["true", "a"];
    const metadata: Record<string, string> = { for: "a" };
    const batch = parseBatchContent("b", { actions: [{ id: "one", argv }], metadata });
    argv.push("b");
    metadata["for"] = "b";
    expect(batch).toEqual({
      actions: [{ id: "one", argv: ["true", "a"], timeout_seconds: 300 }],
      metadata: { for: "a" },
    });
  });

  it("is read once, whatever a getter answers later", () => {
    let reads = 0;
    const action = {
      id: "one",
      get argv() {
        reads += 1;
        return reads === 1 ? ["true"] : ["rm", "-r", "."];
      },
    };
    expect(parseBatchContent("b", { actions: [action] }).actions[0]?.argv).toEqual(["true"]);
    expect(reads).toBe(1);
  });

  it.each<[string, unknown]>([
    ["a proxy", new Proxy({ actions: [] }, {})],
    ["a function", { actions: [{ id: "one", argv: ["true"], run: () => undefined }] }],
    [
      "what throws when it is read",
      Object.defineProperty({}, "actions", {
        enumerable: true,
        get: () => {
          throw new Error("no");
        },
      }),
    ],
    ["nothing", null],
  ])("is refused where it is %s", (_what, content) => {
    expect(() => parseBatchContent("b", content)).toThrow(invalid);
  });
});

import { type JsonObject, readFormat } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { ownSchema } from "../../src/skills/own-schema.ts";

const text = (pattern: string): JsonObject => ({
  type: "object",
  properties: { t: { type: "string", pattern } },
  required: ["t"],
});
describe("a schema of somebody's own", () => {
  it("tells what is wrong, and where", () => {
    const format = ownSchema(text("^[a-z]+$"));
    expect(readFormat(format, { t: "abc" }).success).toBe(true);
    expect(readFormat(format, { t: "7" }).error?.issues).toMatchObject([{ path: ["t"] }]);
    expect(readFormat(format, {}).error?.issues[0]?.message).toBe("expected text, found nothing");
  });

  it("does not take for ever", () => {
    const schema = text("^(a+)+$");
    const value = { t: `${"a".repeat(60)}!` };
    const format = ownSchema(schema);
    const read = (): string => readFormat(format, value).error?.issues[0]?.message ?? "";
    expect(read()).toContain("takes too long");
    // Of this schema nothing is checked any more: each such value would take as long again.
    const began = performance.now();
    for (let round = 0; round < 100; round++) expect(read()).toContain("takes too long");
    expect(performance.now() - began).toBeLessThan(1000);
  });
});

import { patchSections, utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";

describe("a patch in sections", () => {
  it("has one for each file, with all its parts in their order", () => {
    const text =
      "From x\ndiff --git a/b b/b\none\ndiff --git a/c c/c\ntwo\ndiff --git a/b b/b\nthree\n";
    const found = [...patchSections(utf8Encode(text))].map(([path, bytes]) => [
      path,
      Buffer.from(bytes).toString("utf8"),
    ]);
    expect(found).toEqual([
      ["b", "diff --git a/b b/b\none\ndiff --git a/b b/b\nthree\n"],
      ["c", "diff --git a/c c/c\ntwo\n"],
    ]);
  });

  it("copies each part once, however many a file has", () => {
    const part = "diff --git a/b b/b\n";
    const sections = patchSections(utf8Encode(part.repeat(200_000)));
    expect(sections.get("b")).toHaveLength(200_000 * part.length);
  }, 30_000);
});

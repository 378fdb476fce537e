import { canonicalBytes, utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { editText } from "../../src/executor/edit-file.ts";

const FILE =
  "import a from 'a';\n\nexport function sum(list) {\n  return list.length;\n}\nexport {};\n";

function edit(edits: readonly object[], file = FILE): string {
  const bytes = canonicalBytes(edits as never);
  return Buffer.from(editText("src/a.ts", utf8Encode(file), bytes)).toString("utf8");
}

describe("edit_file", () => {
  it("replaces one place each, one edit after the other, and dollars as they stand", () => {
    const edited = edit([
      { search: "list.length", replace: "total(list)$&$1" },
      { search: "total(list)", replace: "all(list)" },
      { search: "export", replace: "ex", count: 2 },
    ]);
    expect(edited).toContain("  return all(list)$&$1;\n");
    expect(edited).toContain("ex {};");
  });

  it.each<[string, readonly object[], RegExp, string?]>([
    ["stands twice", [{ search: "export", replace: "" }], /once, found it 2 times \(lines 3, 6\)/],
    ["stands less often", [{ search: "export", replace: "", count: 3 }], /3 times, found it 2/],
    [
      "is nearly there",
      [{ search: "return list.size;", replace: "" }],
      /line 4: " {2}return list\.length;"/,
    ],
    [
      "has other spaces",
      [{ search: "export  function sum(list) {", replace: "" }],
      /line 3, but for its spaces/,
    ],
    [
      "goes on otherwise",
      [{ search: "export function sum(list) {\n  x", replace: "" }],
      /first line is line 3/,
    ],
    ["has other line ends", [{ search: "a\nb", replace: "" }], /CR LF/, "a\r\nb\r\n"],
    ["has CR and the file none", [{ search: "a\r\nb", replace: "" }], /LF alone/, "a\nb\n"],
    [
      "is missing after an edit",
      [
        { search: "a';", replace: "" },
        { search: "a';", replace: "" },
      ],
      /edit 2/,
    ],
  ])("says what is there where the text %s", (_, edits, why, file) => {
    expect(() => edit(edits, file)).toThrow(why);
  });

  it("refuses what is no text", () => {
    const bytes = canonicalBytes([{ search: "a", replace: "b" }]);
    expect(() => editText("x", Uint8Array.of(0xff, 0x61), bytes)).toThrow(/UTF-8/);
  });
});

import { utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { type DiffPart, readDiff } from "../../src/executor/index.ts";

const read = (text: string): DiffPart[] => readDiff(utf8Encode(text), "change.patch");
const filesOf = (text: string): { path: string; from: string | null; patch: string | null }[] =>
  read(text).flatMap(({ files }) =>
    files.map(({ path, from, patch }) => ({
      path,
      from,
      patch: patch === null ? null : Buffer.from(patch).toString("utf8"),
    })),
  );

const HUNK = "@@ -1 +1 @@\n-a\n+b\n";

describe("a diff", () => {
  it.each([
    ["git's", `diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n${HUNK}`],
    ["git's without prefixes", `diff --git x x\nindex 1..2 100644\n--- x\n+++ x\n${HUNK}`],
    [
      "git's with other prefixes",
      `diff --git i/x w/x\nindex 1..2 100644\n--- i/x\n+++ w/x\n${HUNK}`,
    ],
    [
      "in lines that end in CR LF",
      `diff --git a/x b/x\r\nindex 1..2 100644\r\n--- a/x\r\n+++ b/x\r\n${HUNK.replaceAll("\n", "\r\n")}`,
    ],
  ])("is %s, of one file", (_, text) => {
    expect(filesOf(text)).toEqual([
      {
        path: "x",
        from: null,
        patch: `diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n${HUNK}`,
      },
    ]);
  });

  it("keeps CR where the file has it, lines that look like names, and an end without LF", () => {
    const hunk =
      "@@ -1,3 +1,3 @@\n--- a/evil\r\n-old\r\n+++ b/evil\r\n+new\r\n last\n\\ No newline at end of file\n";
    const [one, ...others] = filesOf(`--- a/dir/x\t2026-01-01\n+++ b/dir/x\t2026-01-02\n${hunk}`);
    expect(others).toEqual([]);
    expect(one).toMatchObject({ path: "dir/x" });
    expect(one?.patch).toBe(`--- a/dir/x\n+++ b/dir/x\n${hunk}`);
  });

  it("of a hunk with very many lines is as it was", () => {
    const hunk = `@@ -0,0 +1,500000 @@\n${"+line\n".repeat(500_000)}`;
    const names = "--- a/x\n+++ b/x\n";
    expect(filesOf(`${names}${hunk}`)[0]?.patch).toBe(`${names}${hunk}`);
  });

  it("of names with spaces, quotes and other letters has each in one spelling", () => {
    const name = '"a/\\303\\251 \\"q\\".txt" "b/\\303\\251 \\"q\\".txt"';
    const [a, b] = name.split(/(?<=txt") /);
    const text = `diff --git ${name}\nindex 1..2 100644\n--- ${a}\n+++ ${b}\n${HUNK}`;
    expect(filesOf(text)).toMatchObject([{ path: 'é "q".txt' }]);
    const spaced = `diff --git a/two words b/two words\n--- a/two words\t\n+++ b/two words\t\n${HUNK}`;
    expect(filesOf(spaced)).toMatchObject([{ path: "two words" }]);
  });

  it("of a rename with and without a change, of modes and of an empty file", () => {
    const text = [
      "diff --git a/old b/new",
      "similarity index 90%",
      "rename from old",
      "rename to new",
      "index 1111111..2222222 100644",
      "--- a/old",
      "+++ b/new",
      `${HUNK}diff --git a/p b/q`,
      "similarity index 100%",
      "rename from p",
      "rename to q",
      "diff --git a/run.sh b/run.sh",
      "old mode 100644",
      "new mode 100755",
      "diff --git a/empty b/empty",
      "new file mode 100644",
      "index 0000000..e69de29",
      "",
    ].join("\n");
    const files = filesOf(text);
    expect(files.map(({ path, from }) => [from, path])).toEqual([
      ["old", "new"],
      ["p", "q"],
      [null, "run.sh"],
      [null, "empty"],
    ]);
    expect(files[0]?.patch).toMatch(
      /^diff --git a\/new b\/new\nindex .*\n--- a\/new\n\+\+\+ b\/new\n/,
    );
    expect(files[1]?.patch).toBeNull();
    expect(files[2]?.patch).toContain("new mode 100755");
  });

  it("of git format-patch is one part a mail, each with its message", () => {
    const mail = (subject: string, body: string, file: string): string =>
      [
        `From ${"a".repeat(40)} Mon Sep 17 00:00:00 2001`,
        "From: Somebody <some@example.org>",
        "Date: Thu, 1 Jan 2026 00:00:00 +0000",
        `Subject: ${subject}`,
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=UTF-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        body,
        "---",
        ` ${file} | 2 +-`,
        "",
        `diff --git a/${file} b/${file}`,
        "index 1..2 100644",
        `--- a/${file}`,
        `+++ b/${file}`,
        `${HUNK}-- `,
        "2.39.5",
        "",
      ].join("\n");
    const text =
      mail(
        "[PATCH 1/2] =?UTF-8?q?Mend_=C3=A9?=\n =?UTF-8?q?t=C3=A9?=",
        "Why it was\nbroken.",
        "x",
      ) + mail("[PATCH 2/2] Second", "", "y");
    const parts = read(text);
    expect(parts.map((one) => one.message)).toEqual(["Mend été\n\nWhy it was\nbroken.", "Second"]);
    expect(parts.map((one) => one.files.map((file) => file.path))).toEqual([["x"], ["y"]]);
  });

  it.each([
    ["nothing", "", /expected a diff/],
    ["words", "dear all\n", /expected a diff/],
    [
      "a submodule",
      "diff --git a/m b/m\nindex 1..2 160000\n--- a/m\n+++ b/m\n@@ -1 +1 @@\n-a\n+b\n",
      /:1: it changes a submodule/,
    ],
    [
      "a new submodule",
      "diff --git a/m b/m\nnew file mode 160000\nindex 0..2\n--- /dev/null\n+++ b/m\n@@ -0,0 +1 @@\n+b\n",
      /submodule/,
    ],
    ["a copy", "diff --git a/x b/y\ncopy from x\ncopy to y\n", /--no-renames/],
    ["a merge", "diff --cc x\n", /merge/],
    [
      "a binary file without its bytes",
      "diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n",
      /--binary/,
    ],
    ["a file on one side", "Only in b: x\n", /diff -N/],
    ["two names", `diff --git a/x b/y\nindex 1..2\n--- a/x\n+++ b/y\n${HUNK}`, /in one way/],
    [
      "other names before the hunks",
      `diff --git a/x b/x\nindex 1..2\n--- a/etc\n+++ b/etc\n${HUNK}`,
      /differ/,
    ],
    [
      "a head of one file and a hunk of none",
      `diff --git a/x b/x\nindex 1..2\n--- /dev/null\n+++ b/x\n${HUNK}`,
      /differ/,
    ],
    ["two plain names", `--- a/x\n+++ b/y\n${HUNK}`, /a\/FILE/],
    ["a hunk that is cut off", "--- a/x\n+++ b/x\n@@ -1,9 +1 @@\n-a\n", /too early/],
    ["a hunk of no file", HUNK, /belongs to no file/],
    ["half a rename", "diff --git a/x b/y\nrename from x\n", /one of its names/],
    [
      "a name that is not UTF-8",
      `diff --git "a/\\377" "b/\\377"\n--- "a/\\377"\n+++ "b/\\377"\n${HUNK}`,
      /UTF-8/,
    ],
    ["nothing of a file", "diff --git a/x b/x\n", /changes nothing/],
  ])("of %s is refused, and where", (_, text, why) => {
    expect(() => read(text)).toThrow(why);
  });

  it("of endless names, hunks or mails ends", () => {
    expect(() => read(`diff --git a/x b/x\nnew mode 100755\n`.repeat(600))).toThrow(/at most 500/);
    expect(() =>
      read(`--- a/x\n+++ b/x\n@@ -1,999999999 +1 @@\n${" a\n".repeat(200_000)}`),
    ).toThrow(/too early/);
    expect(() => read(`From ${"a".repeat(40)} x\n\n`.repeat(300))).toThrow(/at most 200/);
  });
});

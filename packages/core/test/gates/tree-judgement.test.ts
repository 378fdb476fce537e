import { judgeTree, type TreeEntry } from "@sovereign/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const file: TreeEntry = { kind: "file", target: null };
const link = (target: string): TreeEntry => ({ kind: "link", target });

function treeOf(
  ...paths: readonly (string | readonly [string, TreeEntry])[]
): Map<string, TreeEntry> {
  return new Map(paths.map((one) => (typeof one === "string" ? [one, file] : [one[0], one[1]])));
}

const refusedOf = (tree: Map<string, TreeEntry>, ...changed: string[]): string[] =>
  judgeTree(tree, changed.length > 0 ? changed : [...tree.keys()]).refused.map((one) => one.path);

describe("a folder that git would take for a repository", () => {
  it.each([
    [["d/HEAD", "d/config", "d/objects/x", "d/refs/x"]],
    [["HEAD", "config", "objects/x", "refs/x"]],
    [["d/HEAD", "d/commondir"]],
    [["d/HEAD", "d/objects", "d/refs"]],
    [["d/head", "d/Objects/x", "d/REFS/x"]],
    [["d/HEAD", "D/objects/x", "D/Refs/x"]],
    [["d/HE\u200bAD", "d/obj\u00adects/x", "d/refs/x"]],
    [["d/HEAD.", "d/objects /x", "d/refs::$INDEX_ALLOCATION/x"]],
    // The rest may be there where the tree goes to, or be named by the environment.
    [["d/HEAD", "d/refs/x"]],
    [["a/b/c/d/HEAD", "a/b/c/d/objects/pack/x"]],
  ])("takes no change: %j", (paths) => {
    expect(refusedOf(treeOf(...paths)).sort()).toEqual([...paths].sort());
  });

  it("is found by its names, whatever kind they are", () => {
    const tree = treeOf(
      ["d/HEAD", link("refs/heads/main")],
      ["d/objects", link("../o")],
      ["d/refs", link("../o")],
    );
    expect(refusedOf(tree, "d/HEAD")).toEqual(["d/HEAD"]);
  });

  it("is found although the user put a part of it there", () => {
    const tree = treeOf("d/HEAD", "d/objects/x", "d/refs/x", "d/config");
    for (const changed of tree.keys()) expect(refusedOf(tree, changed)).toEqual([changed]);
  });

  it("is the user's where no step touches it", () => {
    const tree = treeOf("test/bare.git/HEAD", "test/bare.git/objects/x", "test/bare.git/refs/x");
    tree.set("src/app.ts", file);
    expect(refusedOf(tree, "src/app.ts", "test/readme")).toEqual([]);
    expect(refusedOf(tree, "test/bare.git/hooks/pre-commit")).toHaveLength(1);
  });

  it("is found by way of a link that leads there", () => {
    const tree = treeOf(
      "d/HEAD",
      "d/objects/x",
      "d/refs/x",
      ["d/config", link("../settings/git")],
      "settings/git",
    );
    expect(refusedOf(tree, "settings/git")).toEqual(["settings/git"]);
  });

  it.each([
    [["src/head.ts", "src/objects/x.ts", "src/refs/y.ts"]],
    [["docs/HEAD", "docs/readme"]],
    [["HEAD/x", "objects/x", "refs/x"]],
    [["a/HEAD", "b/objects/x", "b/refs/x"]],
  ])("is not one that lacks its HEAD or all else: %j", (paths) => {
    expect(refusedOf(treeOf(...paths))).toEqual([]);
  });
});

describe("what no step changes", () => {
  it.each([
    ".git/config",
    "a/.git",
    "a/.g\u200bit/config",
    ".g\u00adit/x",
    "\uff0egit/x",
    ".git::$INDEX_ALLOCATION/config",
    ".GIT /config",
    ".gitmodules",
    ".gitattributes",
    ".gitconfig",
    ".githooks/pre-commit",
    ".hg/hgrc",
    "sub/.HG/hgrc",
    ".sl/config",
    ".jj/repo/config.toml",
    ".svn/entries",
    ".bzr/branch/branch.conf",
    "_darcs/prefs/defaults",
    ".pijul/config",
    "_FOSSIL_",
    ".fslckout",
    "_MTN/monotonerc",
    "CVS/Root",
    ".repo/repo/main",
  ])("is %s", (path) => {
    expect(refusedOf(treeOf(path))).toEqual([path]);
  });

  it("is in a submodule's folder", () => {
    const tree = treeOf(["sub", { kind: "gitlink", target: null }], "sub2/x");
    expect(refusedOf(tree, "sub/file", "sub", "SUB/deep/file", "sub2/x")).toEqual([
      "sub/file",
      "sub",
      "SUB/deep/file",
    ]);
  });
});

describe("a file that tools run", () => {
  it("is one to which a link of such a name leads", () => {
    const tree = treeOf(
      [".vscode", link("tools/editor")],
      ["web/CLAUDE.md", link("../docs/agents.md")],
      ["all", link("tools")],
      "tools/editor/tasks.json",
      "docs/agents.md",
    );
    const changed = ["tools/editor/tasks.json", "docs/agents.md", "tools/other", "docs/x"];
    expect(judgeTree(tree, changed).hostRun).toEqual(changed.slice(0, 2));
  });

  it("is a link that could stand for its folder", () => {
    const tree = treeOf([".github", link("x")], ["hooks", link("x")], ["src/hooks", link("x")]);
    expect(judgeTree(tree, [...tree.keys()]).hostRun).toEqual([...tree.keys()]);
    expect(judgeTree(treeOf("src/hooks/useThing.ts"), ["src/hooks/useThing.ts"]).hostRun).toEqual(
      [],
    );
  });

  it("is judged in bounded work where links lead in circles", () => {
    const circles = Array.from({ length: 60 }, (_, at) => [`l${at}`, link(".")] as const);
    const { refused } = judgeTree(treeOf("x", ...circles), ["x"]);
    expect(refused[0]?.why).toContain("more ways");
  });
});

describe("names", () => {
  const SPELLINGS: readonly ((name: string) => string)[] = [
    (name) => name.toUpperCase(),
    (name) => `${name}.`,
    (name) => `${name} `,
    (name) => `${name}::$DATA`,
    (name) => `${name.slice(0, 2)}\u200c${name.slice(2)}`,
    (name) => `${name.slice(0, 1)}\ufe0f${name.slice(1)}`,
    (name) => name.replace("s", "\u017f"),
    (name) => name.replaceAll(".", "\uff0e"),
  ];

  it("are judged alike in every spelling that some file system takes for one", () => {
    const paths = ["d/HEAD", "d/objects/x", "d/refs/x", ".vscode/tasks.json", ".git/x", ".hg/y"];
    fc.assert(
      fc.property(
        fc.constantFrom(...paths),
        fc.array(fc.integer({ min: 0, max: SPELLINGS.length - 1 }), { maxLength: 2 }),
        (path, ways) => {
          const other = path
            .split("/")
            .map((name) => ways.reduce((text, way) => SPELLINGS[way]?.(text) ?? text, name))
            .join("/");
          const plain = treeOf(...paths);
          const odd = treeOf(...paths.filter((one) => one !== path), other);
          const [before, after] = [judgeTree(plain, [path]), judgeTree(odd, [other])];
          expect(after.refused.length).toBe(before.refused.length);
          expect(after.hostRun.length).toBe(before.hostRun.length);
        },
      ),
    );
  });
});

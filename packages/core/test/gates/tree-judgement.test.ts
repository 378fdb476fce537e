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

  it("is found through as many links as the kernel follows, and as before by earlier rules", () => {
    const chain = Array.from({ length: 39 }, (_, at) => [`l${at}`, link(`l${at + 1}`)] as const);
    const tree = treeOf([".envrc", link("l0")], ...chain, "l39");
    expect(judgeTree(tree, ["l39"])).toMatchObject({ hostRun: ["l39"] });
    expect(judgeTree(tree, ["l39"]).links).toHaveLength(40);
    expect(judgeTree(tree, ["l39"], 3, "first")).toEqual({ refused: [], hostRun: [], links: [] });
  });

  it.each([
    ["that climbs out of where another leads", ["sub/.envrc", "../up/../env"], ["up", "a/b"]],
    ["that names that place without the other", ["sub/.envrc", "../env"], ["other", "a"]],
    ["in other letters", ["sub/.envrc", "../UP/../env"], ["Up", "a/b"]],
  ])("is one to which a link leads %s", (_name, first, second) => {
    const links = [first, second].map(([from = "", to = ""]) => [from, link(to)] as const);
    const tree = treeOf(...links, "a/b/x", "a/env", "env");
    const changed = first[1] === "../env" ? "env" : "a/env";
    expect(judgeTree(tree, [changed]).hostRun).toEqual([changed]);
  });

  it("is a link that another leads through", () => {
    const tree = treeOf(
      [".envrc", link("current/env")],
      ["current", link("versions/2")],
      ["deep/.claude", link("../a/../current/assistant")],
      "versions/2/env",
      "a/x",
    );
    expect(judgeTree(tree, ["current"]).hostRun).toEqual(["current"]);
    expect(judgeTree(tree, ["versions/2/assistant/hooks"]).hostRun).toHaveLength(1);
    expect(judgeTree(tree, ["versions/2/other", "versions/1/env"]).hostRun).toEqual([]);
  });

  it("is none to which links lead by way of what is not in the tree", () => {
    const tree = treeOf(
      [".envrc", link("../x/env")],
      ["a/.envrc", link("/x/env")],
      ["b/.envrc", link("b")],
      ["c/.envrc", link("../out/env")],
      ["out", link("../..")],
      "env",
      "x/env",
    );
    expect(judgeTree(tree, ["env", "x/env"]).hostRun).toEqual([]);
  });

  it("is judged alike by the links that the judgement names", () => {
    const names = fc.constantFrom("a", "b", "A", "..", ".envrc", ".claude", ".");
    const target = fc.array(names, { minLength: 1, maxLength: 4 }).map((all) => all.join("/"));
    const path = fc
      .array(fc.constantFrom("a", "b", "A", ".envrc", ".claude"), { minLength: 1, maxLength: 3 })
      .map((all) => all.join("/"));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(path, target), { maxLength: 8 }),
        fc.array(path, { minLength: 1, maxLength: 3 }),
        (links, changed) => {
          const tree = treeOf(...links.map(([from, to]) => [from, link(to)] as const));
          for (const one of changed) if (!tree.has(one)) tree.set(one, file);
          const whole = judgeTree(tree, changed);
          const part = new Map(
            [...changed, ...whole.links].map((one) => [one, tree.get(one) ?? file]),
          );
          if (whole.refused.length === 0) expect(judgeTree(part, changed)).toEqual(whole);
        },
      ),
    );
  });

  it("is judged in bounded work where each of many links is long", () => {
    const way = "a/../".repeat(800);
    const links = Array.from({ length: 1500 }, (_, at) => [`l${at}`, link(`${way}x`)] as const);
    const { refused } = judgeTree(treeOf("x", "a/x", ...links), ["x"]);
    expect(refused[0]?.why).toContain("more ways");
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

describe("a link that was changed", () => {
  const INSIDE = ["x", "./x", "../b/x", "../d", "sub/x/", ".", "..", "café", "a~b"];
  const OUTSIDE = [
    ...["/etc/passwd", "../../x", "a/../x", "C:/x", "c:x", ""],
    ...[".git/hooks", "../.GIT/config", ".git./x", ".g\u200bit/x", ".git::$INDEX_ALLOCATION/x"],
    ...["GIT~1/hooks", "git~1", "../GITHUB~1/x", "a\\b", "x.", "x ", "a\u202eb", "cafe\u0301"],
    ...["n".repeat(256)],
  ];

  it.each(INSIDE)("may lead to %j", (target) => {
    expect(judgeTree(treeOf(["d/l", link(target)]), ["d/l"]).refused).toEqual([]);
  });

  it.each(OUTSIDE)("is refused where it leads to %j, by the dialect of now", (target) => {
    const tree = treeOf(["d/l", link(target)]);
    expect(judgeTree(tree, ["d/l"]).refused).toMatchObject([
      { path: "d/l", why: expect.stringContaining("leaves the work tree") as string },
    ]);
    expect(judgeTree(tree, ["d/l"], 6).refused).toEqual([]);
    expect(judgeTree(tree, ["d/other"]).refused).toEqual([]);
  });

  it("is refused where its target is longer than any that can be followed", () => {
    const tree = treeOf(["l", { kind: "link", target: null }]);
    expect(judgeTree(tree, ["l"]).refused).toHaveLength(1);
  });
});

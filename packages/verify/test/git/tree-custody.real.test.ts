import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LinkReader, openGitRepository } from "../../src/git/index.ts";
import { type CustodyRules, dialectOf, verifyTree } from "../../src/tree-custody.ts";
import { PlainRepository } from "../support/repository.ts";

const FILES = [
  "src/app.ts",
  "d/HEAD",
  "d/config",
  "D/Objects/pack/x",
  "e/HEAD",
  ".vscode/tasks.json",
  "pipelines/jobs.yml",
  ".hg/hgrc",
  "lib/hie.yaml",
  "a:b.code-workspace",
];

let repo: PlainRepository;
let tree: string;
beforeAll(() => {
  repo = new PlainRepository();
  for (const path of FILES) repo.write(path, "x\n");
  repo.commit("a tree");
  tree = repo.git("rev-parse", "HEAD^{tree}");
});
afterAll(() => {
  repo.dispose();
});

function verify(
  path: string,
  ciFiles?: readonly string[],
  rules: Partial<CustodyRules> = {},
  at = tree,
): void {
  const { objects } = openGitRepository(repo.root);
  try {
    const params = ciFiles === undefined ? {} : { ci_files: [...ciFiles] };
    const trees = { objects, reader: new LinkReader(objects) };
    verifyTree(trees, at, [path], params, { dialect: 4, links: [], ...rules });
  } finally {
    objects.close();
  }
}

describe("a step's tree, judged again in a repository,", () => {
  it.each([
    ["d/config", "git would take its folder"],
    ["D/Objects/pack/x", "git would take its folder"],
    ["d/new/gone", "git would take its folder"],
    [".hg/hgrc", "Mercurial"],
    [".gitattributes", "steer git"],
    [".vscode/tasks.json", "its commit does not name it"],
  ])("is refused for %s", (path, why) => {
    expect(() => {
      verify(path);
    }).toThrow(why);
  });

  it("is good where the commit names what tools run, and for everything else", () => {
    verify(".vscode/tasks.json", [".vscode/tasks.json"]);
    for (const path of ["src/app.ts", "e/HEAD", "e/new", "pipelines/jobs.yml"]) verify(path);
    expect(() => {
      verify(".vscode/tasks.json", [".vscode/other.json"]);
    }).toThrow("does not name it");
  });

  it("is judged where a decision names the dialect, and as it was where none does", () => {
    const entry = (decision: object) =>
      ({ entry: { event_type: "execution.authorized", data: { decision } } }) as never;
    expect(dialectOf([])).toBe(null);
    expect(dialectOf([entry({}), entry({})])).toBe(null);
    expect(dialectOf([entry({}), entry({ dialect: 2 })])).toBe(2);
    expect(dialectOf([entry({ dialect: 3 }), entry({ dialect: 2 }), entry({})])).toBe(3);
  });

  it("is refused for a link into git's folder by its short name, unless an earlier dialect decided", () => {
    repo.link("pipelines/short", "../GIT~1/hooks");
    repo.commit("a link");
    const at = repo.git("rev-parse", "HEAD^{tree}");
    const links = [{ path: "pipelines/short", target: "../GIT~1/hooks" }];
    expect(() => {
      verify("pipelines/short", [], { dialect: 7, links }, at);
    }).toThrow("a link that leaves the work tree");
    verify("e/new", [], { dialect: 7 }, at);
  });

  it("by an earlier dialect is judged by the table of then", () => {
    verify("lib/hie.yaml", undefined, { dialect: 2 });
    verify("a:b.code-workspace", undefined, { dialect: 3 });
    expect(() => {
      verify("a:b.code-workspace");
    }).toThrow("its commit does not name it");
    expect(() => {
      verify("lib/hie.yaml");
    }).toThrow("its commit does not name it");
  });
});

describe("links of a tree, judged in a repository,", () => {
  const CHAIN = Array.from({ length: 12 }, (_, at) => [`chain/${at}`, `${at + 1}`] as const);
  const LINKS: readonly (readonly [string, string])[] = [
    [".envrc", "settings/env"],
    ["web/CLAUDE.md", "../docs/agents.md"],
    [".claude", "tools/assistant"],
    ["deep/.envrc", "../chain/0"],
    ...CHAIN,
    ["up", "a/b"],
    ["over/.envrc", "../up/../env"],
    ["round", "round"],
    ["one", "two"],
    ["two", "one"],
    ["absolute", "/etc/passwd"],
    ["outside", "../../elsewhere"],
    ["bare/config", "../settings/git"],
  ];
  let linked: string;
  beforeAll(() => {
    for (const path of ["a/b/x", "a/env", "bare/HEAD", "bare/refs/x", "chain/12"]) {
      repo.write(path, "x\n");
    }
    for (const path of ["settings/env", "settings/git", "docs/agents.md", "web/x"]) {
      repo.write(path, "x\n");
    }
    for (const folder of ["deep", "over", "tools/assistant"]) repo.write(`${folder}/x`, "x\n");
    for (const [path, target] of LINKS) repo.link(path, target);
    repo.commit("links");
    linked = repo.git("rev-parse", "HEAD^{tree}");
  });

  const link = (path: string) => ({ path, target: new Map(LINKS).get(path) ?? "" });
  const at = (path: string, named: readonly string[], ...links: readonly string[]): void => {
    verify(path, named, { links: links.map(link) }, linked);
  };

  it.each([
    ["settings/env", [".envrc"]],
    ["docs/agents.md", ["web/CLAUDE.md"]],
    ["tools/assistant/settings.json", [".claude"]],
    ["chain/12", ["deep/.envrc", ...CHAIN.map(([path]) => path)]],
    ["a/env", ["over/.envrc", "up"]],
  ])("make %s one that its step's commit must name", (path, links) => {
    expect(() => {
      at(path, [], ...links);
    }).toThrow("which tools run, and its commit does not name it");
    at(path, [path], ...links);
    expect(() => {
      at(path, [path], ...links.slice(1));
    }).toThrow("the checksums do not name it");
    expect(() => {
      at(path, [path], ...links, "round");
    }).toThrow("which the tree does not have");
  });

  it("make a file a repository's", () => {
    expect(() => {
      at("settings/git", ["settings/git"], "bare/config");
    }).toThrow("git would take its folder");
  });

  it("that lead in circles or out of the tree lead to nothing in it", () => {
    for (const path of ["src/app.ts", "a/b/new", "elsewhere", "etc/passwd"]) {
      const links = path.startsWith("a/b/") ? ["up"] : [];
      at(path, [], ...links);
    }
  });

  it("are followed as they were then in evidence that does not name them", () => {
    expect(() => {
      verify("settings/env", [], { links: undefined }, linked);
    }).toThrow("which tools run");
    verify("chain/12", [], { links: undefined }, linked);
    verify("a/env", [], { links: undefined }, linked);
  });

  it("are counted where folders hold each other many times over", () => {
    let id = repo.git("rev-parse", `${linked}:deep`);
    for (let level = 0; level < 18; level++) {
      const rows = `040000 tree ${id}\tx\n040000 tree ${id}\ty\n`;
      id = repo.bytes(["mktree"], rows).toString("utf8").trim();
    }
    expect(() => {
      verify("new", [], {}, id);
    }).toThrow("symbolic links");
  });
});

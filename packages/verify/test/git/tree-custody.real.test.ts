import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openGitRepository } from "../../src/git/index.ts";
import { dialectOf, verifyTree } from "../../src/tree-custody.ts";
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

function verify(path: string, ciFiles?: readonly string[], dialect: 2 | 3 = 3): void {
  const { objects } = openGitRepository(repo.root);
  try {
    const params = ciFiles === undefined ? {} : { ci_files: [...ciFiles] };
    verifyTree(objects, tree, [path], params, dialect);
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

  it("by the second dialect is judged by the table of then", () => {
    verify("lib/hie.yaml", undefined, 2);
    expect(() => {
      verify("lib/hie.yaml");
    }).toThrow("its commit does not name it");
  });
});

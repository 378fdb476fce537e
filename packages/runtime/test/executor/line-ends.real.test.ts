import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { refuseFolded } from "../../src/executor/repository/case-folding.ts";
import { inspectRepository } from "../../src/executor/git/index.ts";
import { rollBack } from "../../src/executor/repository/rollback.ts";
import { TestRepository, workOn } from "./support/repository.ts";
import { judgeSteps } from "./support/steps.ts";

let repository: TestRepository | null = null;
function make(...args: ConstructorParameters<typeof TestRepository>): TestRepository {
  repository = new TestRepository(...args);
  return repository;
}
afterEach(() => {
  vi.unstubAllEnvs();
  repository?.dispose();
  repository = null;
});

const FILES = { "a.txt": "a\nb\n", "keep.txt": "k\n", "bin.dat": Buffer.from([0, 13, 10, 1]) };

describe("a repository whose line ends git converts", () => {
  type Kind = [string, Record<string, string>, string | null, boolean, string];
  const kinds: Kind[] = [
    ["core.autocrlf=true", { "core.autocrlf": "true" }, null, false, "\r\n"],
    [
      "core.autocrlf=true in the user's own configuration",
      { "core.autocrlf": "true" },
      null,
      true,
      "\r\n",
    ],
    ["core.autocrlf=input", { "core.autocrlf": "input" }, null, false, "\n"],
    ["core.eol=crlf with text=auto", { "core.eol": "crlf" }, "* text=auto\n", false, "\r\n"],
    ["eol=crlf of its attributes", {}, "*.txt text eol=crlf\n", false, "\r\n"],
  ];
  it.each(kinds)(
    "by %s comes back, and is rolled back",
    async (_, config, attributes, own, end) => {
      const repo = make(attributes === null ? FILES : { ".gitattributes": attributes, ...FILES });
      if (own) vi.stubEnv("HOME", repo.folder);
      for (const [name, value] of Object.entries(config))
        repo.git("config", ...(own ? ["--global"] : []), name, value);
      // As a checkout under this configuration has it.
      repo.git("rm", "-q", "-r", "--cached", ".");
      repo.git("reset", "-q", "--hard");
      expect(repo.read("keep.txt")).toBe(`k${end}`);
      expect(repo.git("status", "--porcelain")).toBe("");
      const before = repo.state();
      const judged = await judgeSteps(repo, [
        (tree) => {
          writeFileSync(join(tree, "a.txt"), "a\nc\n");
          mkdirSync(join(tree, "new"));
          writeFileSync(join(tree, "new/b.txt"), "x\ny\n");
        },
      ]);
      const { base, head } = await judged.bring();
      expect(repo.git("status", "--porcelain")).toBe("");
      expect(repo.read("a.txt")).toBe(`a${end}c${end}`);
      expect(repo.read("new/b.txt")).toBe(`x${end}y${end}`);
      expect(repo.git("cat-file", "blob", "HEAD:new/b.txt")).toBe("x\ny");
      const folder = join(repo.private, "back");
      const ref = "refs/heads/main";
      const user = await inspectRepository(repo.root);
      const way = { repository: user, base, head, ref, folder, at: 1_800_000_000 };
      const proof = await rollBack(way);
      expect(proof).toMatchObject({ success: true, checksums_match: true });
      expect(proof.every_file.kept_unchanged).toBe(true);
      expect(repo.state()).toEqual(before);
      expect(repo.read("a.txt")).toBe(`a${end}b${end}`);
    },
  );

  it("still refuses an edit of the user's in the same file", async () => {
    const repo = make(FILES);
    repo.git("config", "core.autocrlf", "true");
    repo.git("rm", "-q", "-r", "--cached", ".");
    repo.git("reset", "-q", "--hard");
    const judged = await judgeSteps(repo, [
      (tree) => {
        writeFileSync(join(tree, "a.txt"), "a\nc\n");
      },
    ]);
    repo.write("a.txt", "mine\r\n");
    await expect(judged.bring()).rejects.toMatchObject({ code: "ERR_REPOSITORY_DIRTY" });
    expect(repo.read("a.txt")).toBe("mine\r\n");
  });
});

describe("a repository that we cannot hold", () => {
  it("is refused in one line: refs in a reftable", async () => {
    const repo = make();
    repo.git("config", "core.repositoryFormatVersion", "1");
    repo.git("config", "extensions.refStorage", "reftable");
    mkdirSync(join(repo.root, ".git/reftable"));
    await expect(inspectRepository(repo.root)).rejects.toMatchObject({
      code: "ERR_REPOSITORY_REFUSED",
      message: expect.stringMatching(/^[^\n]*reftable[^\n]*git refs migrate[^\n]*$/) as string,
    });
  });

  it("is refused in one line: an extension that this git does not know", async () => {
    const repo = make();
    repo.git("config", "core.repositoryFormatVersion", "1");
    writeFileSync(
      join(repo.root, ".git/config"),
      "[core]\nrepositoryformatversion = 1\n[extensions]\nnoSuchThing = x\n",
    );
    await expect(inspectRepository(repo.root)).rejects.toMatchObject({
      code: "ERR_REPOSITORY_REFUSED",
      message: expect.stringMatching(/^[^\n]*git cannot read it[^\n]*$/) as string,
    });
  });

  it.each(["with\na line", 'with "quotes"', "with\u001bcontrol"])(
    "is refused in one line: a path %j",
    async (name) => {
      const repo = make();
      const other = join(repo.folder, name);
      repo.git("clone", "-q", repo.root, other);
      await expect(inspectRepository(other)).rejects.toMatchObject({
        code: "ERR_REPOSITORY_REFUSED",
        message: expect.stringMatching(/^[\x20-\x7e]*rename it[\x20-\x7e]*$/) as string,
      });
    },
  );

  it("is refused where its file system takes two files of the tree for one", async () => {
    const repo = make({ "README.md": "a\n", "readme.md": "b\n", other: "c\n" });
    const user = await inspectRepository(repo.root);
    const { git, head } = await workOn(repo);
    const refuse = (path: string, folds?: boolean): Promise<void> =>
      refuseFolded(git, user, head.tree, [path], folds);
    await expect(refuse("readme.md", true)).rejects.toMatchObject({
      code: "ERR_REPOSITORY_REFUSED",
      message: expect.stringContaining('"README.md" and "readme.md"') as string,
    });
    await refuse("other", true);
    await refuse("readme.md");
  });
});

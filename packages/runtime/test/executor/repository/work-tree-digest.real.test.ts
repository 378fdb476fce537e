import { chmodSync, lstatSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lookAtFiles, proveEveryFile } from "../../../src/executor/repository/work-tree-digest.ts";
import {
  createPrivateRepository,
  type Git,
  inspectRepository,
  readHead,
} from "../../../src/executor/git/index.ts";
import { TestRepository } from "../support/repository.ts";

let repo: TestRepository;
let git: Git;
let tree: string;
let before: string;
beforeEach(async () => {
  repo = new TestRepository({ "a.txt": "one\n", "b/c.txt": "two\n", "b/d.txt": "three\n" });
  repo.link("l", "a.txt");
  repo.commit("a link");
  const user = await inspectRepository(repo.root);
  const head = await readHead(user);
  tree = head.tree;
  git = await createPrivateRepository(join(repo.private, "git"), user, head.commit);
  before = await lookAtFiles(git, repo.root, tree);
});
afterEach(() => {
  repo.dispose();
});

const prove = () => proveEveryFile(git, repo.root, tree, before, new Set());

describe("the proof of every file", () => {
  it("is over git's bytes, whatever stands in the work tree", async () => {
    const first = await prove();
    expect(first).toMatchObject({ total: 4, as_base: 4, kept: [], kept_unchanged: true });
    writeFileSync(join(repo.root, "b/c.txt"), "mine\n");
    rmSync(join(repo.root, "a.txt"));
    const later = await prove();
    expect(later.sha256).toBe(first.sha256);
    expect(later).toMatchObject({ total: 4, as_base: 2, kept_unchanged: false });
  });

  it.each<[string, string, (root: string) => void]>([
    [
      "bytes of the same length, with the file's old times",
      "b/c.txt",
      (root) => {
        const path = join(root, "b/c.txt");
        const { atime, mtime } = lstatSync(path);
        writeFileSync(path, "owt\n");
        utimesSync(path, atime, mtime);
      },
    ],
    [
      "a mode",
      "a.txt",
      (root) => {
        chmodSync(join(root, "a.txt"), 0o755);
      },
    ],
    [
      "a link's target",
      "l",
      (root) => {
        rmSync(join(root, "l"));
        symlinkSync("b/c.txt", join(root, "l"));
      },
    ],
    [
      "a link for its folder",
      "b/c.txt",
      (root) => {
        rmSync(join(root, "b"), { recursive: true });
        symlinkSync(".", join(root, "b"));
      },
    ],
  ])("sees %s", async (_, path, change) => {
    change(repo.root);
    const found = await prove();
    expect(found.kept_unchanged).toBe(false);
    expect(found.kept.map((one) => one.path)).toContain(path);
  });

  it("takes what was there before for the user's own", async () => {
    writeFileSync(join(repo.root, "b/d.txt"), "mine\n");
    before = await lookAtFiles(git, repo.root, tree);
    const found = await prove();
    expect(found.kept.map((one) => one.path)).toEqual(["b/d.txt"]);
    expect(found.kept_unchanged).toBe(true);
    writeFileSync(join(repo.root, "b/d.txt"), "lost\n");
    expect((await prove()).kept_unchanged).toBe(false);
  });
});

import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inspectRepository } from "../../../src/executor/git/index.ts";
import { lockRepository } from "../../../src/executor/repository/repository-lock.ts";
import { TestRepository } from "../support/repository.ts";
import { judgeSteps } from "../support/steps.ts";

let repo: TestRepository;
let elsewhere: string;
beforeEach(() => {
  repo = new TestRepository();
  elsewhere = mkdtempSync(join(tmpdir(), "sov-elsewhere-"));
});
afterEach(() => {
  repo.dispose();
  rmSync(elsewhere, { recursive: true });
});

const inGit = (name: string): string => join(repo.root, ".git", name);
const change = (tree: string): void => {
  writeFileSync(join(tree, "src/app.ts"), "export const app = 2;\n");
};

/** Put a link where the repository has something, which is what the link leads to then. */
function leadAway(name: string, target: string): void {
  mkdirSync(dirname(target), { recursive: true });
  if (existsSync(inGit(name))) renameSync(inGit(name), target);
  else mkdirSync(target);
  mkdirSync(dirname(inGit(name)), { recursive: true });
  symlinkSync(target, inGit(name));
}

describe("a link in a repository's own folder", () => {
  it.each([
    "logs/HEAD",
    "logs/refs/heads/main",
    "logs/refs/heads",
    "logs",
    "refs/sovereign",
    "sovereign-kept",
  ])("in the place of %s has nothing written behind it", async (name) => {
    leadAway(name, join(elsewhere, "theirs"));
    const before = execFileSync("tar", ["-c", "."], { cwd: elsewhere });
    const work = judgeSteps(repo, [change]).then((judged) => judged.bring());
    await expect(work).rejects.toMatchObject({ code: "ERR_REPOSITORY_REFUSED" });
    expect(execFileSync("tar", ["-c", "."], { cwd: elsewhere })).toEqual(before);
  });

  it("that leads nowhere, and a pipe in a log's place, are refused, too", async () => {
    rmSync(inGit("logs/HEAD"));
    symlinkSync(join(elsewhere, "new"), inGit("logs/HEAD"));
    await expect(inspectRepository(repo.root)).rejects.toThrow("logs/HEAD");
    rmSync(inGit("logs/HEAD"));
    execFileSync("mkfifo", [inGit("logs/HEAD")]);
    await expect(inspectRepository(repo.root)).rejects.toThrow("logs/HEAD");
    expect(readdirSync(elsewhere)).toEqual([]);
  });

  it("to the same place of another repository is right", async () => {
    leadAway("logs/refs", join(elsewhere, "logs/refs"));
    leadAway("refs", join(elsewhere, "refs"));
    const judged = await judgeSteps(repo, [change]);
    const { head } = await judged.bring();
    expect(repo.git("rev-parse", "HEAD")).toBe(head);
    expect(readFileSync(join(elsewhere, "logs/refs/heads/main"), "utf8")).toContain(head);
  });
});

describe("whatever stands in the place of the repository's lock", () => {
  it("is not written to where its own name is a link's", async () => {
    const theirs = join(elsewhere, "theirs");
    writeFileSync(theirs, "the user's own\n");
    for (const name of ["", ".stale"]) {
      symlinkSync(theirs, inGit(`sovereign.lock${name}.${process.pid}`));
    }
    const lock = await lockRepository(await inspectRepository(repo.root), "run_one", 0);
    expect(lstatSync(inGit("sovereign.lock")).isFile()).toBe(true);
    lock.release();
    expect(readFileSync(theirs, "utf8")).toBe("the user's own\n");
  });

  it.each([
    ["a pipe", (at: string) => execFileSync("mkfifo", [at])],
    ["a folder", (at: string) => mkdirSync(join(at, "x"), { recursive: true })],
    ["a link", (at: string) => execFileSync("ln", ["-s", join(elsewhere, "theirs"), at])],
  ])("is nobody's where it is %s", async (_title, make) => {
    make(inGit("sovereign.lock"));
    const lock = await lockRepository(await inspectRepository(repo.root), "run_one", 0);
    expect(readFileSync(inGit("sovereign.lock"), "utf8")).toContain("run_one");
    lock.release();
    expect(repo.names().filter((name) => name.includes("sovereign.lock"))).toEqual([]);
  });
});

describe("a link of the user's that is not in git", () => {
  const results: Readonly<Record<string, { readonly path: string; readonly result: string }>> = {
    "a file comes": { path: "note", result: "note" },
    "a folder comes": { path: "out", result: "out/note" },
    "a folder comes, deeper": { path: "src/out", result: "src/out/deep/note" },
  };
  const targets = ["file", "folder"];
  const cases = Object.entries(results).flatMap(([what, one]) =>
    targets.map((target) => ({ what, target, ...one })),
  );

  it.each(cases)("where $what, to a $target outside, stays as it is", async (one) => {
    const { target, path, result } = one;
    writeFileSync(join(elsewhere, "file"), "theirs\n");
    mkdirSync(join(elsewhere, "folder/deep"), { recursive: true });
    writeFileSync(join(elsewhere, "folder/deep/kept"), "theirs\n");
    const judged = await judgeSteps(repo, [
      (tree) => {
        mkdirSync(dirname(join(tree, result)), { recursive: true });
        writeFileSync(join(tree, result), "ours\n");
      },
    ]);
    const theirs = join(elsewhere, target);
    repo.link(path, theirs);
    const before = execFileSync("tar", ["-c", "."], { cwd: elsewhere });
    const state = repo.state();
    await expect(judged.bring()).rejects.toMatchObject({
      code: "ERR_REPOSITORY_DIRTY",
      message: `Not as committed, and in the way: "${path}" (a link). Nothing was changed; commit or move them, then try again.`,
    });
    expect(readlinkSync(join(repo.root, path))).toBe(theirs);
    expect(execFileSync("tar", ["-c", "."], { cwd: elsewhere })).toEqual(before);
    expect(repo.state()).toEqual(state);
  });

  it("that is put there amid bringing back has nothing written behind it", async () => {
    mkdirSync(join(elsewhere, "folder"));
    const judged = await judgeSteps(repo, [
      (tree) => {
        mkdirSync(join(tree, "out"));
        writeFileSync(join(tree, "out/note"), "ours\n");
      },
    ]);
    const head = repo.git("rev-parse", "HEAD");
    const work = judged.bring((step) => {
      if (step === "journalled") repo.link("out", join(elsewhere, "folder"));
    });
    await expect(work).rejects.toMatchObject({ code: "ERR_REPOSITORY_DIRTY" });
    expect(readlinkSync(join(repo.root, "out"))).toBe(join(elsewhere, "folder"));
    expect(readdirSync(join(elsewhere, "folder"))).toEqual([]);
    expect(repo.git("rev-parse", "HEAD")).toBe(head);
  });
});

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { inspectRepository, readHead } from "../../../src/executor/git/index.ts";
import { rollBack } from "../../../src/executor/repository/rollback.ts";
import { TestRepository } from "../support/repository.ts";
import { judgeSteps } from "../support/steps.ts";

let made: TestRepository | null = null;
function make(): TestRepository {
  made = new TestRepository();
  return made;
}
afterEach(() => {
  made?.dispose();
  made = null;
});

const inGit = (repo: TestRepository, name: string): string => join(repo.root, ".git", name);

function clone(repo: TestRepository, name: string, ...options: string[]): string {
  const to = join(repo.root, name);
  execFileSync("git", ["clone", "-q", ...options, `file://${repo.root}`, to], { stdio: "pipe" });
  return to;
}

/** Each with what it is told by, and what to type. */
const REFUSED: [string, RegExp, (repo: TestRepository) => string][] = [
  [
    "a linked work tree whose HEAD names a ref of that work tree alone",
    /"refs\/worktree\/own", which is no branch: try git switch/,
    (repo) => {
      const linked = join(repo.folder, "linked");
      repo.git("worktree", "add", "-q", "--detach", linked);
      repo.git("-C", linked, "update-ref", "refs/worktree/own", "HEAD");
      repo.git("-C", linked, "symbolic-ref", "HEAD", "refs/worktree/own");
      return linked;
    },
  ],
  [
    "a HEAD that names what was fetched",
    /"refs\/remotes\/other\/main", which is no branch/,
    (repo) => {
      repo.git("update-ref", "refs/remotes/other/main", "HEAD");
      repo.git("symbolic-ref", "HEAD", "refs/remotes/other/main");
      return repo.root;
    },
  ],
  [
    "a branch that is another name of a branch",
    /"refs\/heads\/main", which is another name of "refs\/heads\/real": try git switch real/,
    (repo) => {
      repo.git("branch", "real");
      writeFileSync(inGit(repo, "refs/heads/main"), "ref: refs/heads/real\n");
      return repo.root;
    },
  ],
  [
    "a branch whose name is no UTF-8",
    /the name of its branch is no UTF-8: try git branch -m/,
    (repo) => {
      const name = Buffer.concat([Buffer.from("refs/heads/b"), Buffer.from([0xff])]);
      const file = Buffer.concat([Buffer.from(`${repo.root}/.git/`), name]);
      writeFileSync(file, `${repo.git("rev-parse", "HEAD")}\n`);
      writeFileSync(inGit(repo, "HEAD"), Buffer.concat([Buffer.from("ref: "), name]));
      return repo.root;
    },
  ],
  [
    "a series of picks between two of them",
    /a series of cherry-picks or reverts is unfinished: finish it/,
    (repo) => {
      repo.git("checkout", "-q", "-b", "side");
      repo.write("src/app.ts", "theirs\n");
      repo.commit("one");
      repo.write("src/util.ts", "theirs\n");
      repo.commit("two");
      repo.git("checkout", "-q", "main");
      repo.write("src/app.ts", "ours\n");
      repo.commit("ours");
      expect(() => repo.git("cherry-pick", "main..side")).toThrow();
      repo.commit("resolved by hand");
      return repo.root;
    },
  ],
  [
    "a partial clone without the files of its commit",
    /a partial clone without 4 objects of its commit: type git archive HEAD/,
    (repo) => {
      repo.git("config", "uploadpack.allowFilter", "true");
      return clone(repo, "partial", "--no-checkout", "--filter=blob:none");
    },
  ],
  [
    "a bare repository in a work tree, which is not taken for the one around it",
    /is a bare repository, or git's own folder of one: name a work tree/,
    (repo) => clone(repo, "bare.git", "--bare"),
  ],
  ["git's own folder", /git's own folder of one/, (repo) => inGit(repo, "refs/heads")],
];

describe("a repository is refused in one line, with nothing moved:", () => {
  it.each(REFUSED)("%s", async (_, why, prepare) => {
    const repo = make();
    const folder = prepare(repo);
    const before = repo.git("for-each-ref");
    const look = async (): Promise<unknown> => readHead(await inspectRepository(folder));
    const error = await look().then(
      () => null,
      (cause: unknown) => cause as { code: string; message: string },
    );
    expect(error?.code).toBe("ERR_REPOSITORY_REFUSED");
    expect(error?.message).toMatch(why);
    expect(error?.message).not.toContain("\n");
    expect(repo.git("for-each-ref")).toBe(before);
  });
});

const WORKED_ON: [string, (repo: TestRepository) => void][] = [
  [
    "names that are no UTF-8",
    (repo) => {
      const name = Buffer.concat([Buffer.from(`${repo.root}/src/`), Buffer.from([0xe9, 0xff])]);
      writeFileSync(name, "theirs\n");
      repo.commit("an old name");
    },
  ],
  [
    "a HEAD that is a link, as old versions of git made it",
    (repo) => {
      rmSync(inGit(repo, "HEAD"));
      symlinkSync("refs/heads/main", inGit(repo, "HEAD"));
    },
  ],
];

describe("a repository is worked on, there and back, with", () => {
  it.each(WORKED_ON)("%s", async (_, prepare) => {
    const repo = make();
    prepare(repo);
    const before = repo.state();
    const edit = (tree: string): void => {
      mkdirSync(join(tree, "bücher"));
      writeFileSync(join(tree, "bücher/é.txt"), "new\n");
      writeFileSync(join(tree, "src/app.ts"), "changed\n");
    };
    const judged = await judgeSteps(repo, [edit]);
    const { base, head } = await judged.bring();
    expect(repo.git("rev-parse", "HEAD")).toBe(head);
    expect(repo.git("status", "--porcelain")).toBe("");
    const log = readFileSync(inGit(repo, "logs/HEAD"), "utf8").trimEnd().split("\n").at(-1);
    expect(log).toContain(`${base} ${head} `);
    const user = await inspectRepository(repo.root);
    const back = { repository: user, base, head, ref: judged.head.ref, at: 1_800_000_000 };
    const proof = await rollBack({ ...back, folder: join(repo.private, "back") });
    expect(proof.success).toBe(true);
    expect(repo.state()).toEqual(before);
  });
});

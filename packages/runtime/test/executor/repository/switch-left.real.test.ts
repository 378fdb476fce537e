import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inspectRepository, type UserRepository } from "../../../src/executor/git/index.ts";
import { lockRepository } from "../../../src/executor/repository/repository-lock.ts";
import { isSwitchHalf, readJournal } from "../../../src/executor/repository/switch-journal.ts";
import { recoverSwitch } from "../../../src/executor/repository/tree-switch.ts";
import { openDataFolder } from "../../../src/home/index.ts";
import { ToolScope, withTools } from "../../../src/process/index.ts";
import { freeRepository, switchFolder } from "../../../src/services/exec/repository-state.ts";
import { TestRepository } from "../support/repository.ts";
import { type Judged, judgeSteps, RUN_ID } from "../support/steps.ts";

// What a killed move left, and who finds it: the same repository, a copy of it, another run, the user.

let repo: TestRepository;
let judged: Judged;
let folder: { readonly folder: ReturnType<typeof openDataFolder> };
let left: string;
beforeEach(async () => {
  repo = new TestRepository();
  repo.write("mine.txt", "mine\n");
  folder = { folder: openDataFolder(join(repo.folder, "home")) };
  left = switchFolder(folder, RUN_ID);
  judged = await judgeSteps(repo, [
    (tree) => {
      writeFileSync(join(tree, "src/app.ts"), "export const app = 2;\n");
      rmSync(join(tree, "docs/guide.md"));
      writeFileSync(join(tree, "added"), "x\n");
    },
  ]);
});
afterEach(() => {
  repo.dispose();
});

/** Another process holds the repository, moves the branch and is killed. */
async function killed(at: string, back?: { base: string; head: string }): Promise<void> {
  const child = fileURLToPath(new URL("../support/switch-child.ts", import.meta.url));
  const patches = judged.patches.map((one) => ({
    ...one,
    patch: Buffer.from(one.patch).toString("base64"),
  }));
  const task = { root: repo.root, folder: join(left, ".."), at, patches, ...(back && { back }) };
  const ended = spawn(process.execPath, [child, JSON.stringify(task)], { stdio: "inherit" });
  expect(await once(ended, "close")).toEqual([null, "SIGKILL"]);
}

const open = (root = repo.root): Promise<UserRepository> => inspectRepository(root);
const git = (root: string, ...args: string[]): string =>
  execFileSync("git", args, { cwd: root, encoding: "utf8" }).trimEnd();
const stateOf = (root: string): string[] => [
  git(root, "rev-parse", "HEAD"),
  git(root, "status", "--porcelain"),
  git(root, "ls-files", "--stage"),
];
const LEFT = ["index.lock", "HEAD.lock", "refs/heads/main.lock"];
const locksIn = (root: string): string[] =>
  LEFT.filter((name) => existsSync(join(root, ".git", name)));

describe("a copy of a repository in which a move was killed", () => {
  const copyOf = (): string => {
    const copy = join(repo.folder, "copy");
    execFileSync("cp", ["-a", repo.root, copy]);
    return copy;
  };

  it.each(["replaced", "indexed", "locked", "moved"])(
    "after it %s is put right for itself, and the repository, too",
    async (at) => {
      const before = stateOf(repo.root);
      await killed(at);
      const copy = copyOf();
      await recoverSwitch(left, await open(copy));
      expect(readJournal(left)?.state).toBe("applying");
      expect(locksIn(copy)).toEqual([]);
      const inCopy = stateOf(copy);

      const ended = await recoverSwitch(left, await open());
      expect(ended).toBe(at === "moved" ? "done" : "undone");
      expect(locksIn(repo.root)).toEqual([]);
      expect(stateOf(repo.root)).toEqual(inCopy);
      if (at !== "moved") expect(inCopy).toEqual(before);
      else expect(inCopy[1]).toBe("?? mine.txt");
      expect(git(repo.folder, "-C", copy, "fsck", "--strict")).not.toMatch(/error|missing/);
    },
  );

  it("keeps the user's edits there, and says nothing of the repository", async () => {
    const before = stateOf(repo.root);
    await killed("replaced");
    const copy = copyOf();
    writeFileSync(join(copy, "src/app.ts"), "mine\n");
    const recovered = recoverSwitch(left, await open(copy));
    await expect(recovered).rejects.toMatchObject({ code: "ERR_REPOSITORY_DIRTY" });
    expect(readFileSync(join(copy, "src/app.ts"), "utf8")).toBe("mine\n");
    expect(await recoverSwitch(left, await open())).toBe("undone");
    expect(stateOf(repo.root)).toEqual(before);
  });

  it("is none where the repository itself was moved", async () => {
    const before = stateOf(repo.root);
    await killed("replaced");
    const other = join(repo.folder, "other");
    renameSync(repo.root, other);
    expect(await recoverSwitch(left, await open(other))).toBe("undone");
    expect(stateOf(other)).toEqual(before);
  });
});

describe("a rollback that was killed right after the branch moved back", () => {
  it("is done, and touches nothing, where the user committed on the base meanwhile", async () => {
    const { base, head } = await judged.bring();
    await killed("moved", { base, head });
    expect(repo.git("rev-parse", "HEAD")).toBe(base);
    rmSync(join(repo.root, ".git/index.lock"));
    repo.commit("mine");
    const before = repo.state();
    expect(await recoverSwitch(left, await open())).toBe("done");
    expect(repo.state()).toEqual(before);
  });
});

describe("a move that a killed run left half", () => {
  it("is ended by whoever can first, however many could not", async () => {
    const before = stateOf(repo.root);
    const lock = join(repo.root, ".git/sovereign.lock");
    (await lockRepository(await open(), RUN_ID, 0)).leave(RUN_ID);
    await killed("replaced");
    // The user's own git holds the index.
    const index = join(repo.root, ".git/index.lock");
    rmSync(index);
    writeFileSync(index, "");
    const free = async (): Promise<void> => freeRepository(folder, await open());
    await expect(free()).rejects.toMatchObject({ code: "ERR_REPOSITORY_BUSY" });
    expect(readFileSync(lock, "utf8")).toContain(RUN_ID);
    rmSync(index);
    await free();
    expect(stateOf(repo.root)).toEqual(before);
    expect(existsSync(lock)).toBe(false);
    expect(isSwitchHalf(left)).toBe(false);
  });

  it("holds nobody up once all but the user's edits is put back", async () => {
    (await lockRepository(await open(), RUN_ID, 0)).leave(RUN_ID);
    await killed("replaced");
    expect(isSwitchHalf(left)).toBe(true);
    repo.write("src/app.ts", "mine\n");
    const free = async (): Promise<void> => freeRepository(folder, await open());
    await expect(free()).rejects.toMatchObject({ code: "ERR_REPOSITORY_DIRTY" });
    expect(isSwitchHalf(left)).toBe(false);
    await free();
    expect(repo.read("src/app.ts")).toBe("mine\n");
  });

  it("takes nothing from a commit that the user made of it meanwhile", async () => {
    await killed("replaced");
    for (const name of locksIn(repo.root)) rmSync(join(repo.root, ".git", name));
    repo.commit("mine, with half of the run's files");
    const files = ["src/app.ts", "added", "mine.txt"];
    const committed = files.map((path) => repo.git("show", `HEAD:${path}`));
    const head = repo.git("rev-parse", "HEAD");
    expect(await recoverSwitch(left, await open())).toBe("undone");
    expect(repo.git("rev-parse", "HEAD")).toBe(head);
    expect(repo.git("diff", "--cached", "--name-only")).toBe("");
    expect(repo.git("diff", "--name-only").split("\n")).toEqual(["added", "src/app.ts"]);
    expect(existsSync(join(repo.root, "docs/guide.md"))).toBe(true);
    repo.git("restore", ".");
    expect(files.map((path) => repo.read(path).trimEnd())).toEqual(committed);
  });

  it("is named where its lock is in the way, and not to be removed", async () => {
    await killed("replaced");
    await expect(judged.bring()).rejects.toMatchObject({
      code: "ERR_REPOSITORY_BUSY",
      message: expect.stringContaining(`sovereign exec status ${RUN_ID}`) as string,
    });
  });
});

describe("a stop in the moment after the branch moved", () => {
  it("does not make a failure of what was done", async () => {
    const scope = new ToolScope(() => ({ groups: [], marker: {} }));
    const brought = await withTools(scope, true, () =>
      judged.bring((step) => {
        if (step === "moved") scope.stop("stopped");
      }),
    );
    expect(brought.head).toBe(judged.patches.at(-1)?.commit);
    expect(repo.git("status", "--porcelain")).toBe("?? mine.txt");
  });
});

import { execFileSync, spawn } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { inspectRepository, releaseKept } from "../../../src/executor/git/index.ts";
import { lockRepository } from "../../../src/executor/repository/repository-lock.ts";
import { rollBack } from "../../../src/executor/repository/rollback.ts";
import { switchedTo } from "../../../src/executor/repository/switch-journal.ts";
import { recoverSwitch } from "../../../src/executor/repository/tree-switch.ts";
import { TestRepository } from "../support/repository.ts";
import { judgeSteps, RUN_ID } from "../support/steps.ts";

let repository: TestRepository | null = null;
function make(...args: ConstructorParameters<typeof TestRepository>): TestRepository {
  repository = new TestRepository(...args);
  return repository;
}
afterEach(() => {
  repository?.dispose();
  repository = null;
});

const write =
  (path: string, content: string | Buffer, mode = 0o644) =>
  (tree: string): void => {
    mkdirSync(join(tree, path, ".."), { recursive: true });
    writeFileSync(join(tree, path), content);
    chmodSync(join(tree, path), mode);
  };

describe("rolling back", () => {
  it("refuses when the user committed on top, or edited what it would change", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 2;\n")]);
    const { base, head } = await judged.bring();
    const user = await inspectRepository(repo.root);
    const back = (): Promise<unknown> =>
      rollBack({
        at: 1_800_000_000,
        repository: user,
        base,
        head,
        ref: "refs/heads/main",
        folder: join(repo.private, "back"),
      });
    appendFileSync(join(repo.root, "src/app.ts"), "mine\n");
    const edited = repo.state();
    await expect(back()).rejects.toMatchObject({ code: "ERR_REPOSITORY_DIRTY" });
    expect(repo.state()).toEqual(edited);
    repo.commit("mine");
    const before = repo.state();
    await expect(back()).rejects.toMatchObject({ code: "ERR_REPOSITORY_MOVED" });
    expect(repo.state()).toEqual(before);
  });
});

describe("a switch that is killed", () => {
  it.each(["journalled", "foldered", "replaced", "indexed", "locked", "moved"])(
    "after it %s is brought to an end",
    async (at) => {
      const repo = make();
      const judged = await judgeSteps(repo, [
        write("src/app.ts", "export const app = 2;\n"),
        write("new/deep/file", "x\n"),
        (tree) => {
          rmSync(join(tree, "docs/guide.md"));
          write("empty/file", "x\n")(tree);
        },
      ]);
      repo.write("mine.txt", "mine\n");
      mkdirSync(join(repo.root, "empty"));
      const before = repo.state();
      const names = repo.names();
      const child = fileURLToPath(new URL("../support/switch-child.ts", import.meta.url));
      const args = JSON.stringify({
        root: repo.root,
        folder: join(repo.private, "bring-back"),
        at,
        patches: judged.patches.map((one) => ({
          ...one,
          patch: Buffer.from(one.patch).toString("base64"),
        })),
      });
      await new Promise((end) =>
        spawn(process.execPath, [child, args], { stdio: "inherit" }).on("close", end),
      );
      const folder = join(repo.private, "bring-back", "switch");
      const user = await inspectRepository(repo.root);
      const recover = () => recoverSwitch(folder, user);
      const recovered = await recover();
      if (at === "moved") {
        expect(recovered).toBe("done");
        expect(repo.git("rev-parse", "HEAD^{tree}")).toBe(judged.patches.at(-1)?.tree);
        expect(repo.git("status", "--porcelain")).toBe("?? mine.txt");
      } else {
        expect(recovered).toBe("undone");
        await releaseKept(user, RUN_ID);
        expect(repo.state()).toEqual(before);
        expect(repo.names()).toEqual(names);
        await judged.bring();
      }
      expect(await recover()).toBe("done");
      await releaseKept(user, RUN_ID);
      expect(repo.names().filter((name) => /lock|sovereign/.test(name))).toEqual([]);
      expect(existsSync(join(repo.root, ".git/index.lock"))).toBe(false);
    },
  );
});

describe("a git that outlives the killed process", () => {
  it.each(["commit", "abort"])("is waited for, and its %s decides", async (word) => {
    const repo = make();
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 2;\n")]);
    const before = repo.state();
    const folder = join(repo.private, "bring-back", "switch");
    const child = fileURLToPath(new URL("../support/switch-child.ts", import.meta.url));
    const patches = judged.patches.map((one) => ({
      ...one,
      patch: Buffer.from(one.patch).toString("base64"),
    }));
    const task = { root: repo.root, folder: join(folder, ".."), at: "indexed", patches };
    await new Promise((end) =>
      spawn(process.execPath, [child, JSON.stringify(task)], { stdio: "inherit" }).on("close", end),
    );
    const to = judged.patches.at(-1)?.commit ?? "";
    const orphan = spawn("git", ["update-ref", "--stdin"], { cwd: repo.root });
    const said = new Promise((prepared) => {
      orphan.stdout.on("data", (data) => {
        if (String(data).includes("prepare: ok")) prepared(null);
      });
    });
    orphan.stdin.write(`start\nupdate refs/heads/main ${to} ${judged.head.commit}\nprepare\n`);
    await said;
    const recovering = recoverSwitch(folder, await inspectRepository(repo.root));
    // It waits: what it would do without that, it has done long before.
    await Promise.race([recovering, new Promise((waited) => setTimeout(waited, 700))]);
    orphan.stdin.end(`${word}\n`);
    expect(await recovering).toBe(word === "commit" ? "done" : "undone");
    if (word === "abort") expect(repo.state()).toEqual(before);
    else expect(repo.git("rev-parse", "HEAD")).toBe(to);
    expect(repo.git("status", "--porcelain")).toBe("");
  });
});

describe("a move that was killed right after the branch moved", () => {
  /** Forth or back, killed at the same place. */
  async function killed(): Promise<{ repo: TestRepository; folder: string; to: string }> {
    const repo = make();
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 2;\n")]);
    const child = fileURLToPath(new URL("../support/switch-child.ts", import.meta.url));
    const patches = judged.patches.map((one) => ({
      ...one,
      patch: Buffer.from(one.patch).toString("base64"),
    }));
    const bringBack = join(repo.private, "bring-back");
    const args = JSON.stringify({ root: repo.root, folder: bringBack, at: "moved", patches });
    await new Promise((end) =>
      spawn(process.execPath, [child, args], { stdio: "inherit" }).on("close", end),
    );
    const to = judged.patches.at(-1)?.commit ?? "";
    expect(repo.git("rev-parse", "HEAD")).toBe(to);
    rmSync(join(repo.root, ".git/index.lock"), { force: true });
    return { repo, folder: join(bringBack, "switch"), to };
  }

  it.each<[string, readonly (readonly string[])[]]>([
    ["checked out another branch", [["checkout", "-q", "-b", "other"]]],
    ["committed on top", [["commit", "-q", "--allow-empty", "-m", "mine"]]],
    [
      "committed on another branch",
      [
        ["checkout", "-q", "-b", "other"],
        ["commit", "-q", "--allow-empty", "-m", "mine"],
      ],
    ],
    ["detached HEAD", [["checkout", "-q", "--detach"]]],
  ])("is done, and touches nothing, where the user %s meanwhile", async (_, commands) => {
    const { repo, folder, to } = await killed();
    for (const command of commands) repo.git(...command);
    const before = repo.state();
    const user = await inspectRepository(repo.root);
    expect(await recoverSwitch(folder, user)).toBe("done");
    expect(switchedTo(folder)).toBe(to);
    expect(repo.state()).toEqual(before);
  });
});

describe("a git that is killed with us while it holds the branch", () => {
  async function killBoth(): Promise<{
    repo: TestRepository;
    folder: string;
    recover: () => Promise<string>;
    before: unknown;
    bring: () => Promise<unknown>;
  }> {
    const repo = make();
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 2;\n")]);
    const before = repo.state();
    const child = fileURLToPath(new URL("../support/switch-child.ts", import.meta.url));
    const patches = judged.patches.map((one) => ({
      ...one,
      patch: Buffer.from(one.patch).toString("base64"),
    }));
    const folder = join(repo.private, "bring-back", "switch");
    const task = {
      root: repo.root,
      folder: join(folder, ".."),
      at: "locked",
      gitToo: true,
      patches,
    };
    await new Promise((end) =>
      spawn(process.execPath, [child, JSON.stringify(task)], { stdio: "inherit" }).on("close", end),
    );
    const user = await inspectRepository(repo.root);
    return {
      repo,
      folder,
      before,
      recover: () => recoverSwitch(folder, user),
      bring: () => judged.bring(),
    };
  }
  const LOCKS = [".git/refs/heads/main.lock", ".git/HEAD.lock"];
  const locksOf = ({ root }: TestRepository): string[] =>
    LOCKS.filter((name) => existsSync(join(root, name)));

  it("leaves locks that are known for ours, and are removed", async () => {
    const { repo, recover, before, bring } = await killBoth();
    expect(locksOf(repo)).toEqual(LOCKS);
    expect(await recover()).toBe("undone");
    expect(locksOf(repo)).toEqual([]);
    expect(repo.state()).toEqual(before);
    await bring();
    repo.commit("the user's own git works");
  });

  it("does not have a lock removed that is the user's, though it has the same name", async () => {
    const { repo, folder, recover, before } = await killBoth();
    for (const name of LOCKS) {
      const text = readFileSync(join(repo.root, name));
      rmSync(join(repo.root, name));
      writeFileSync(join(repo.root, name), text);
    }
    await expect(recover()).rejects.toMatchObject({
      code: "ERR_REPOSITORY_BUSY",
      message: expect.stringContaining(join(repo.root, LOCKS[0] ?? "")) as string,
    });
    expect(locksOf(repo)).toEqual(LOCKS);
    // As the message says.
    for (const name of LOCKS) rmSync(join(repo.root, name));
    expect(existsSync(join(folder, "journal.json"))).toBe(true);
    expect(await recover()).toBe("undone");
    expect(repo.state()).toEqual(before);
  });

  it("is told from a branch that moved: a lock of the user's in the way is busy", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 2;\n")]);
    const before = repo.state();
    repo.write(LOCKS[0] ?? "", "");
    await expect(judged.bring()).rejects.toMatchObject({ code: "ERR_REPOSITORY_BUSY" });
    rmSync(join(repo.root, LOCKS[0] ?? ""));
    expect(repo.state()).toEqual(before);
  });
});

describe("an edit of the user's after a kill", () => {
  it("stays, and what the file was before is kept beside", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, [
      write("src/app.ts", "export const app = 2;\n"),
      write("new/file", "x\n"),
    ]);
    const child = fileURLToPath(new URL("../support/switch-child.ts", import.meta.url));
    const patches = judged.patches.map((one) => ({
      ...one,
      patch: Buffer.from(one.patch).toString("base64"),
    }));
    const bringBack = join(repo.private, "bring-back");
    const args = JSON.stringify({ root: repo.root, folder: bringBack, at: "replaced", patches });
    await new Promise((end) =>
      spawn(process.execPath, [child, args], { stdio: "inherit" }).on("close", end),
    );
    repo.write("src/app.ts", "mine\n");
    const user = await inspectRepository(repo.root);
    const recovered = recoverSwitch(join(bringBack, "switch"), user);
    await expect(recovered).rejects.toMatchObject({ code: "ERR_REPOSITORY_DIRTY" });
    expect(repo.read("src/app.ts")).toBe("mine\n");
    expect(existsSync(join(repo.root, "new/file"))).toBe(false);
    expect(existsSync(join(bringBack, "switch/before/src/app.ts"))).toBe(true);
    // Put back by the user, it can be ended.
    repo.git("checkout", "src/app.ts");
    expect(await recoverSwitch(join(bringBack, "switch"), user)).toBe("undone");
    expect(repo.git("status", "--porcelain")).toBe("");
  });
});

describe("the repository's lock", () => {
  it("lets one run work at a time, and another after it", async () => {
    const user = await inspectRepository(make().root);
    const lock = await lockRepository(user, "run_one", 0);
    await expect(lockRepository(user, "run_two", 0)).rejects.toMatchObject({
      code: "ERR_REPOSITORY_BUSY",
    });
    const waiting = lockRepository(user, "run_two", 5000);
    setTimeout(() => {
      lock.release();
    }, 120);
    (await waiting).release();
  });

  it("is taken over from an owner that was killed, and from what is no owner", async () => {
    const user = await inspectRepository(make().root);
    const path = join(user.gitDir, "sovereign.lock");
    const dead = execFileSync(process.execPath, ["-e", "console.log(process.pid)"], {
      encoding: "utf8",
    }).trim();
    for (const owner of [`${dead} 1 x/y/z run\n`, "nonsense\n"]) {
      const first = await lockRepository(user, "run_one", 0);
      const own = execFileSync("cat", [path], { encoding: "utf8" });
      first.release();
      const place = own.trim().split(" ")[2] ?? "";
      writeFileSync(path, owner.replace("x/y/z", place));
      (await lockRepository(user, "run_two", 0)).release();
    }
    expect(existsSync(path)).toBe(false);
  });

  it("is rid of what those left who were killed while they took it", async () => {
    const repo = make();
    const user = await inspectRepository(repo.root);
    const dead = execFileSync(process.execPath, ["-e", "console.log(process.pid)"], {
      encoding: "utf8",
    }).trim();
    const names = repo.names();
    for (const name of [dead, `stale.${dead}`])
      writeFileSync(join(user.gitDir, `sovereign.lock.${name}`), "half");
    writeFileSync(join(user.gitDir, `sovereign.lock.${process.ppid}`), "alive");
    (await lockRepository(user, "run_one", 0)).release();
    expect(repo.names()).toEqual([...names, `.git/sovereign.lock.${process.ppid}`].sort());
  });
});

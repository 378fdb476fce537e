import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { mendObjects } from "../../../src/executor/repository/bring-back.ts";
import {
  inspectRepository,
  keepCommit,
  readHead,
  releaseKept,
} from "../../../src/executor/git/index.ts";
import { rollBack } from "../../../src/executor/repository/rollback.ts";
import { recoverSwitch } from "../../../src/executor/repository/tree-switch.ts";
import { TestRepository } from "../support/repository.ts";
import { judgeSteps, RUN_ID } from "../support/steps.ts";

let repository: TestRepository | null = null;
function make(): TestRepository {
  repository = new TestRepository();
  return repository;
}
afterEach(() => {
  repository?.dispose();
  repository = null;
});

const edits = [
  (tree: string): void => {
    writeFileSync(join(tree, "src/app.ts"), "export const app = 2;\n");
  },
  (tree: string): void => {
    mkdirSync(join(tree, "new"));
    writeFileSync(join(tree, "new/file"), "x\n");
  },
];

/** What a user's git, or a tool of theirs, may do at any moment; where it is held up, it refuses. */
const CLEANINGS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  prune: [["prune", "--expire=now"]],
  gc: [
    ["reflog", "expire", "--expire=now", "--all"],
    ["gc", "-q", "--prune=now"],
  ],
  repack: [
    ["repack", "-adq"],
    ["prune", "--expire=now"],
  ],
};

function clean(repo: TestRepository, name: string): void {
  for (const args of CLEANINGS[name] ?? []) {
    try {
      repo.git("-c", "gc.pruneExpire=now", ...args);
    } catch {
      // Held up by our lock of the branch: that is right, too.
    }
  }
}

/** Every object that the user's own git needs is there. */
function requireSound(repo: TestRepository): void {
  expect(repo.git("fsck", "--strict", "--full")).not.toMatch(/missing|error|broken|bad/);
  expect(repo.git("rev-list", "--objects", "--count", "HEAD")).toMatch(/^[1-9]/);
}

const packsOf = (repo: TestRepository, end: string): string[] => {
  const folder = join(repo.root, ".git/objects/pack");
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(end))
    .map((name) => join(folder, name));
};

describe("the user's own git, cleaning up while the branch is moved", () => {
  it.each(Object.keys(CLEANINGS))("by %s takes nothing of it away", async (name) => {
    const repo = make();
    const judged = await judgeSteps(repo, edits);
    const brought = await judged.bring(() => {
      clean(repo, name);
    });
    expect(repo.git("rev-parse", "HEAD")).toBe(brought.head);
    requireSound(repo);
    const user = await inspectRepository(repo.root);
    await releaseKept(user, RUN_ID);
    expect(repo.git("for-each-ref", "refs/sovereign")).toBe("");
    expect(packsOf(repo, ".keep")).toEqual([]);
    expect(existsSync(join(repo.root, ".git/refs/sovereign"))).toBe(false);
    clean(repo, name);
    requireSound(repo);
    // And the way back.
    const { base, head } = brought;
    await keepCommit(user, RUN_ID, "rolled-back", head);
    await releaseKept(user, RUN_ID, ["rolled-back"], "at HEAD");
    expect(repo.git("for-each-ref", "refs/sovereign")).toBe("");
    await keepCommit(user, RUN_ID, "rolled-back", head);
    const folder = join(repo.private, "back");
    const onStep = (): void => {
      clean(repo, name);
    };
    const ref = "refs/heads/main";
    const at = 1_800_000_000;
    const back = { repository: user, base, head, ref, folder, at, onStep };
    expect(await rollBack(back)).toMatchObject({ success: true, after_head: base });
    // Where the branch was is still known to who proves it once more.
    await releaseKept(user, RUN_ID, ["rolled-back"], "at HEAD");
    clean(repo, name);
    expect(await rollBack({ ...back, moved: true })).toMatchObject({ success: true });
    await releaseKept(user, RUN_ID);
    clean(repo, name);
    requireSound(repo);
    expect(repo.git("status", "--porcelain")).toBe("");
  });

  it("leaves a base alone that nothing of the user's names any more", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, edits);
    const user = await inspectRepository(repo.root);
    await keepCommit(user, RUN_ID, "base", judged.head.commit);
    repo.git("commit", "-q", "--amend", "-m", "another");
    clean(repo, "gc");
    await expect(judged.bring()).rejects.toMatchObject({ code: "ERR_REPOSITORY_MOVED" });
    await releaseKept(user, RUN_ID);
    clean(repo, "gc");
    requireSound(repo);
  });
});

describe("objects that are taken away by hand", () => {
  const removePacks = (repo: TestRepository): void => {
    for (const pack of [...packsOf(repo, ".pack"), ...packsOf(repo, ".idx")])
      rmSync(pack, { force: true });
  };

  it("before the branch is moved are handed over again", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, edits);
    let times = 0;
    await judged.bring((step) => {
      if (step === "kept" && times++ === 0) removePacks(repo);
    });
    expect(times).toBe(2);
    requireSound(repo);
  });

  it("again and again leave the branch where it was", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, edits);
    const before = repo.state();
    const bring = judged.bring((step) => {
      if (step === "kept") removePacks(repo);
    });
    await expect(bring).rejects.toMatchObject({ code: "ERR_REPOSITORY_DAMAGED" });
    rmSync(join(repo.root, ".git/refs/sovereign"), { recursive: true });
    expect(repo.state()).toEqual(before);
  });

  it("after it are named for what is wrong, and made again from the patches", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, edits);
    const { head } = await judged.bring();
    const user = await inspectRepository(repo.root);
    await releaseKept(user, RUN_ID);
    removePacks(repo);
    await expect(readHead(user)).rejects.toMatchObject({ code: "ERR_REPOSITORY_DAMAGED" });
    const folder = join(repo.private, "bring-back");
    expect(await recoverSwitch(join(folder, "switch"), user)).toBe("done");
    const { head: base, patches } = judged;
    await mendObjects({ repository: user, base, patches, folder, run: RUN_ID });
    expect(await readHead(user)).toMatchObject({ commit: head });
    await releaseKept(user, RUN_ID);
    requireSound(repo);
  });
});

describe("a branch that is held", () => {
  it("is not called moved away where git fails for another reason", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, edits);
    const before = repo.state();
    const config = join(repo.root, ".git/config");
    const was = readFileSync(config);
    const bring = judged.bring((step) => {
      if (step === "indexed") writeFileSync(config, "[broken\n");
      if (step === "locked") throw new Error("unreachable");
    });
    await expect(bring).rejects.toMatchObject({ code: "ERR_GIT_FAILED" });
    writeFileSync(config, was);
    await releaseKept(await inspectRepository(repo.root), RUN_ID);
    expect(repo.state()).toEqual(before);
  });

  it("stays where HEAD names another branch in the last moment", async () => {
    const repo = make();
    repo.git("branch", "other");
    const judged = await judgeSteps(repo, edits);
    const bring = judged.bring((step) => {
      if (step === "indexed") repo.git("symbolic-ref", "HEAD", "refs/heads/other");
    });
    await expect(bring).rejects.toMatchObject({ code: "ERR_REPOSITORY_MOVED" });
    expect(repo.git("rev-parse", "main")).toBe(judged.head.commit);
    expect(repo.git("status", "--porcelain")).toBe("");
  });
});

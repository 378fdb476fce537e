import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { stagePatches } from "../../../src/executor/repository/bring-back.ts";
import { inspectRepository } from "../../../src/executor/git/index.ts";
import { rollBack } from "../../../src/executor/repository/rollback.ts";
import { TestRepository } from "../support/repository.ts";
import { judgeSteps } from "../support/steps.ts";

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

describe("bringing back", () => {
  it("gives the user's branch the commits that were judged, id for id", async () => {
    const repo = make();
    const judged = await judgeSteps(
      repo,
      [write("src/app.ts", "export const app = 2;\n"), write("new/deep/file.txt", "new\n")],
      "words of the agent\n---\ndiff --git a/evil b/evil\nnew file mode 100644\n--- /dev/null\n+++ b/evil\n@@ -0,0 +1 @@\n+evil",
    );
    const brought = await judged.bring();
    expect(brought.commits).toEqual(judged.patches.map((one) => one.commit));
    expect(repo.git("rev-parse", "HEAD")).toBe(brought.head);
    expect(repo.git("symbolic-ref", "HEAD")).toBe("refs/heads/main");
    expect(repo.git("status", "--porcelain")).toBe("");
    expect(repo.git("log", "--format=%s", "-2")).toBe("words of the agent\nwords of the agent");
    expect(repo.read("new/deep/file.txt")).toBe("new\n");
    expect(existsSync(join(repo.root, "evil"))).toBe(false);
    expect(repo.git("fsck", "--strict")).not.toMatch(/error|missing/);
    expect(repo.git("reflog", "-1")).toContain("sovereign: bring back 2 commits");
  });

  it("keeps a message of any words, and lets none of them be more than words", async () => {
    const repo = make();
    const messages = [
      "From: Mallory <m@example.org>\n\nFrom: Mallory <m@example.org>\nDate: 1 Jan 1990\n\nwords",
      "[PATCH 1/2]  spaces   within\n\n[PATCH] again\n\n\n\nfar below\n\n",
      "---\n---\nafter the line\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+evil\n",
      "\n\n  late subject\nIndex: x\n=======\n*** a\n--- b\n",
      `Ünïcode ${"long words of many letters ".repeat(12)}\n\n>From the start\nSovereign-Step: step_99\n`,
      "-- >8 --\n\nSubject: other\n\ndiff -u a b\n\ttabbed\n",
    ];
    const edits = messages.map((_, index) => write("new.txt", `${index}\n`));
    const judged = await judgeSteps(repo, edits, messages);
    // Another message than the judged one would be another commit.
    expect((await judged.bring()).commits).toEqual(judged.patches.map((one) => one.commit));
    expect(repo.git("log", "--format=%an|%at", "-6").split("\n")).toEqual(
      messages.map(() => "Sovereign Executor|1700000000"),
    );
    expect(
      repo
        .git("log", "--format=%s", "-6")
        .split("\n")
        .reverse()
        .map((one) => one.slice(0, 31)),
    ).toEqual([
      "From: Mallory <m@example.org>",
      "[PATCH 1/2] spaces within",
      "---",
      "late subject",
      "Ünïcode long words of many lett",
      "-- >8 --",
    ]);
    const steps = "%(trailers:key=Sovereign-Step,valueonly,separator=%x2C)";
    expect(repo.git("log", `--format=${steps}`, "-6").split("\n")).toEqual(
      messages.map((_, index) => `step_0${messages.length - index}`),
    );
    expect(existsSync(join(repo.root, "evil"))).toBe(false);
  });

  const shapes: [string, Record<string, string | Buffer>, ((tree: string) => void)[]][] = [
    [
      "binary bytes",
      { a: "a" },
      [write("bin", Buffer.from([0, 1, 255, 13, 10, 0])), write("bin", Buffer.alloc(5000, 7))],
    ],
    ["CRLF and mixed line ends", { a: "a\r\nb\n" }, [write("a", "a\r\nb\r\nc\n")]],
    ["no line end at the end", { a: "a" }, [write("a", "b")]],
    ["a changed mode", { run: "#!/bin/sh\n" }, [write("run", "#!/bin/sh\n", 0o755)]],
    [
      "a rename",
      { old: "x\n".repeat(50) },
      [
        (t) => {
          renameSync(join(t, "old"), join(t, "other"));
        },
      ],
    ],
    [
      "a folder where a file was",
      { a: "a\n" },
      [
        (t) => {
          unlinkSync(join(t, "a"));
          write("a/b", "b\n")(t);
        },
      ],
    ],
    [
      "a file where a folder was",
      { "a/b": "b\n" },
      [
        (t) => {
          rmSync(join(t, "a"), { recursive: true });
          write("a", "a\n")(t);
        },
      ],
    ],
    [
      "a link",
      { a: "a\n" },
      [
        (t) => {
          symlinkSync("a", join(t, "l"));
        },
      ],
    ],
    [
      "odd names",
      { a: "a\n" },
      [write('sp ace/ü"q*?[x].txt', "x\n"), write("-dash", "y\n"), write("--- a", "z")],
    ],
    [
      "attributes of the user's own",
      { ".gitattributes": "*.txt text eol=crlf\n", "a.txt": "a\n" },
      [write("a.txt", "b\r\n"), write("b.txt", "c\r\n")],
    ],
    [
      "everything removed",
      { a: "a\n", "b/c": "c\n" },
      [
        (t) => {
          rmSync(join(t, "a"));
          rmSync(join(t, "b"), { recursive: true });
        },
      ],
    ],
    ["no change at all", { a: "a\n" }, [() => undefined]],
  ];
  it.each(shapes)("carries %s, and back again", async (_, files, edits) => {
    const repo = make(files);
    const before = repo.state();
    const judged = await judgeSteps(repo, edits);
    const brought = await judged.bring();
    expect(repo.git("rev-parse", "HEAD^{tree}")).toBe(judged.patches.at(-1)?.tree);
    expect(repo.git("status", "--porcelain")).toBe("");
    const user = await inspectRepository(repo.root);
    const { base, head } = brought;
    const ref = judged.head.ref;
    const proof = await rollBack({
      at: 1_800_000_000,
      repository: user,
      base,
      head,
      ref,
      folder: join(repo.private, "back"),
    });
    expect(proof).toMatchObject({ success: true, after_head: before.head, checksums_match: true });
    const total = repo.git("ls-files", "-z").split("\0").filter(Boolean).length;
    const converted = ".gitattributes" in files ? 1 : 0;
    expect(proof.every_file).toMatchObject({
      total,
      as_base: total - converted,
      converted,
      kept: [],
    });
    expect(repo.state()).toEqual(before);
  });

  it.each(["detached", "linked"])("works on a %s work tree", async (kind) => {
    const repo = make();
    if (kind === "detached") repo.git("checkout", "-q", "--detach");
    else {
      const linked = join(repo.folder, "linked");
      repo.git("worktree", "add", "-q", "-b", "side", linked);
      Object.assign(repo, { root: linked });
    }
    const judged = await judgeSteps(repo, [write("x", "x\n")]);
    const { head } = await judged.bring();
    expect(repo.git("rev-parse", "HEAD")).toBe(head);
    expect(repo.git("status", "--porcelain")).toBe("");
    expect(existsSync(join(repo.root, "x"))).toBe(true);
  });

  it("keeps the user's edits elsewhere, staged, unstaged and untracked, there and back", async () => {
    const repo = make();
    appendFileSync(join(repo.root, "docs/guide.md"), "mine\n");
    repo.write("staged.txt", "staged\n");
    repo.git("add", "staged.txt");
    repo.write("untracked.txt", "untracked\n");
    const status = repo.git("status", "--porcelain");
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 3;\n")]);
    const { base, head } = await judged.bring();
    expect(repo.git("status", "--porcelain")).toBe(status);
    expect(repo.read("src/app.ts")).toContain("3");
    const user = await inspectRepository(repo.root);
    const folder = join(repo.private, "back");
    const proof = await rollBack({
      at: 1_800_000_000,
      repository: user,
      base,
      head,
      ref: "refs/heads/main",
      folder,
    });
    expect(repo.git("status", "--porcelain")).toBe(status);
    expect(repo.read("docs/guide.md")).toContain("mine");
    expect(repo.read("src/app.ts")).toContain("1");
    const mine = createHash("sha256").update(repo.read("docs/guide.md")).digest("hex");
    expect(proof.every_file).toMatchObject({
      kept: [{ path: "docs/guide.md", mode: "100644", sha256: mine }],
      kept_unchanged: true,
    });
  });

  const conflicts: [string, string, (repo: TestRepository) => void][] = [
    [
      "an edit in the same file",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        appendFileSync(join(r.root, "src/app.ts"), "mine\n");
      },
    ],
    [
      "a staged edit in the same file",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        r.write("src/app.ts", "mine\n");
        r.git("add", "-A");
      },
    ],
    [
      "a staged edit that the file no longer has",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        const was = r.read("src/app.ts");
        r.write("src/app.ts", "mine\n");
        r.git("add", "-A");
        r.write("src/app.ts", was);
      },
    ],
    [
      "an edit that git is told not to see",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        r.git("update-index", "--assume-unchanged", "src/app.ts");
        r.write("src/app.ts", "mine\n");
      },
    ],
    [
      "a removal of the same file",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        unlinkSync(join(r.root, "src/app.ts"));
      },
    ],
    [
      "an untracked file in the way",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        r.write("new/file", "mine\n");
      },
    ],
    [
      "an ignored file in the way",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        r.write(".git/info/exclude", "new/\n");
        r.write("new/file", "mine\n");
      },
    ],
    [
      "a file where a folder must come",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        r.write("new", "mine\n");
      },
    ],
    [
      "a folder where a file must come",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        r.write("new/file/mine", "mine\n");
      },
    ],
    [
      "a link where a folder must come",
      "ERR_REPOSITORY_DIRTY",
      (r) => {
        r.link("new", "/tmp");
      },
    ],
    [
      "a commit meanwhile",
      "ERR_REPOSITORY_MOVED",
      (r) => {
        r.commit("mine");
      },
    ],
    [
      "another branch meanwhile",
      "ERR_REPOSITORY_MOVED",
      (r) => {
        r.git("checkout", "-q", "-b", "other");
      },
    ],
    [
      "git at work",
      "ERR_REPOSITORY_BUSY",
      (r) => {
        r.write(".git/index.lock", "");
      },
    ],
  ];
  it.each(conflicts)("refuses %s, with both sides untouched", async (_, code, interfere) => {
    const repo = make();
    const judged = await judgeSteps(repo, [
      write("src/app.ts", "export const app = 2;\n"),
      write("new/file", "x\n"),
    ]);
    interfere(repo);
    const before = repo.state();
    await expect(judged.bring()).rejects.toMatchObject({ code });
    rmSync(join(repo.root, ".git/index.lock"), { force: true });
    expect(repo.state()).toEqual(before);
    expect(readdirSync(repo.root).filter((name) => name.startsWith(".sovereign"))).toEqual([]);
  });

  it("leaves submodules as they are", async () => {
    const repo = make();
    const commit = repo.git("rev-parse", "HEAD");
    repo.git("update-index", "--add", "--cacheinfo", `160000,${commit},vendor/sub`);
    repo.write(".gitmodules", '[submodule "sub"]\n\tpath = vendor/sub\n\turl = ./sub\n');
    repo.git("add", ".gitmodules");
    repo.git("commit", "-q", "-m", "with a submodule");
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 2;\n")]);
    await judged.bring();
    expect(repo.git("ls-tree", "HEAD", "vendor/sub")).toContain(`160000 commit ${commit}`);
    expect(repo.git("diff", "--name-only", "HEAD~1", "HEAD")).toBe("src/app.ts");
  });

  it("keeps what a filter of the user's made of a file, and refuses to change it", async () => {
    const repo = make({ ".gitattributes": "*.big filter=upper\n", "a.txt": "a\n" });
    repo.git("config", "filter.upper.clean", "tr A-Z a-z");
    repo.git("config", "filter.upper.smudge", "tr a-z A-Z");
    repo.write("x.big", "POINTER\n");
    repo.commit("a filtered file");
    expect(repo.git("cat-file", "blob", "HEAD:x.big")).toBe("pointer");
    const judged = await judgeSteps(repo, [write("a.txt", "b\n")]);
    await judged.bring();
    expect(repo.read("x.big")).toBe("POINTER\n");
    expect(repo.git("status", "--porcelain")).toBe("");
    const before = repo.state();
    rmSync(repo.private, { recursive: true });
    const other = await judgeSteps(repo, [write("x.big", "changed\n")]);
    await expect(other.bring()).rejects.toMatchObject({ code: "ERR_REPOSITORY_DIRTY" });
    expect(repo.state()).toEqual(before);
  });

  it("refuses a patch that gives another tree than was judged", async () => {
    const repo = make();
    const before = repo.state();
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 2;\n")]);
    const user = await inspectRepository(repo.root);
    const folder = join(repo.private, "x");
    const [one] = judged.patches;
    const stage = (patch: object): Promise<unknown> =>
      stagePatches({
        repository: user,
        base: judged.head,
        folder,
        patches: [{ ...one!, ...patch }],
      });
    await expect(stage({ tree: judged.head.tree })).rejects.toMatchObject({
      code: "ERR_BRING_BACK_MISMATCH",
    });
    const other = Buffer.from(
      Buffer.from(one!.patch).toString("utf8").replace("app = 2", "app = 6"),
    );
    await expect(stage({ patch: other })).rejects.toThrow(/the patch should be/);
    expect(repo.state()).toEqual(before);
  });

  it.each(["journalled", "replaced", "indexed"])(
    "undoes everything when it fails after it %s",
    async (at) => {
      const repo = make();
      const judged = await judgeSteps(repo, [
        write("src/app.ts", "export const app = 2;\n"),
        write("new/file", "x\n"),
      ]);
      const before = repo.state();
      await expect(
        judged.bring((step) => {
          if (step === at) throw new Error("broken");
        }),
      ).rejects.toThrow("broken");
      expect(repo.state()).toEqual(before);
      // And the same again works.
      await judged.bring();
      expect(repo.git("status", "--porcelain")).toBe("");
    },
  );

  it("undoes everything when the branch moves at the last instant", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, [write("src/app.ts", "export const app = 2;\n")]);
    const status = repo.state().status;
    const moved = judged.bring((step) => {
      if (step === "indexed") {
        const other = repo.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "mine");
        repo.git("update-ref", "refs/heads/main", other);
      }
    });
    await expect(moved).rejects.toMatchObject({ code: "ERR_REPOSITORY_MOVED" });
    expect(repo.state().status).toBe(status);
    expect(repo.read("src/app.ts")).toContain("1");
  });

  it("loses no edit that is made while it runs", async () => {
    const repo = make();
    const judged = await judgeSteps(repo, [
      write("src/app.ts", "export const app = 2;\n"),
      write("src/util.ts", "u\n"),
    ]);
    const late = judged.bring((step) => {
      if (step === "journalled") repo.write("src/util.ts", "mine\n");
    });
    await expect(late).rejects.toMatchObject({ code: "ERR_REPOSITORY_DIRTY" });
    expect(repo.read("src/util.ts")).toBe("mine\n");
    expect(repo.read("src/app.ts")).toContain("1");
  });
});

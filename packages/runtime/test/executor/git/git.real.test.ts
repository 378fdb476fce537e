import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  commitMessage,
  commitTree,
  judgeChanges,
  readChanges,
  inspectRepository,
  readHead,
  scanTree,
  stageAll,
} from "../../../src/executor/git/index.ts";
import { SmallDisk } from "../../support/small-disk.ts";
import { TestRepository, workOn } from "../support/repository.ts";

const LIMITS = { filesMax: 10, fileBytesMax: 100_000, totalBytesMax: 200_000 };

let repository: TestRepository | null = null;
function make(...args: ConstructorParameters<typeof TestRepository>): TestRepository {
  repository = new TestRepository(...args);
  return repository;
}
afterEach(() => {
  repository?.dispose();
  repository = null;
});

/** Everything of a hostile repository that runs a program when plain git looks at it. */
function arm(repo: TestRepository): string {
  const mark = join(repo.folder, "executed");
  const program = join(repo.folder, "program.sh");
  writeFileSync(program, `#!/bin/sh\necho "$0 $*" >> ${mark}\ncat\n`, { mode: 0o755 });
  for (const [key, value] of [
    ["core.fsmonitor", program],
    ["core.hooksPath", join(repo.folder, "hooks")],
    ["filter.evil.clean", program],
    ["filter.evil.smudge", program],
    ["diff.evil.textconv", program],
    ["diff.evil.command", program],
    ["diff.external", program],
    ["core.pager", program],
    ["core.editor", program],
    ["gpg.program", program],
    ["commit.gpgSign", "true"],
  ] as const) {
    repo.git("config", key, value);
  }
  mkdirSync(join(repo.folder, "hooks"));
  for (const hook of [
    "pre-commit",
    "commit-msg",
    "post-checkout",
    "post-commit",
    "reference-transaction",
    "post-index-change",
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-auto-gc",
  ]) {
    writeFileSync(join(repo.folder, "hooks", hook), `#!/bin/sh\necho ${hook} >> ${mark}\n`, {
      mode: 0o755,
    });
  }
  return mark;
}

describe("the private repository", () => {
  it.each(["sha1", "sha256"])(
    "commits on a user's %s repository without touching it",
    async (format) => {
      const repo = make(undefined, format);
      const before = repo.state();
      const { git, tree, head } = await workOn(repo);
      writeFileSync(join(tree, "src/app.ts"), "export const app = 2;\n");
      rmSync(join(tree, "docs/guide.md"));
      writeFileSync(join(tree, "new.bin"), Buffer.from([0, 255, 13, 10]));
      const id = await stageAll(git, []);
      const changes = await readChanges(git, head.tree, id);
      judgeChanges(changes, LIMITS);
      expect(changes.map(({ path, status, bytes }) => [path, status, bytes])).toEqual([
        ["docs/guide.md", "deleted", 0],
        ["new.bin", "added", 4],
        ["src/app.ts", "modified", 22],
      ]);
      const made = await commitTree(
        git,
        { tree: id, parent: head.commit, message: "step_01: 1 operation\n" },
        1_700_000_000,
      );
      expect(made.parent).toBe(head.commit);
      expect(made.tree).toBe(id);
      expect(repo.state()).toEqual(before);
    },
  );

  it("makes the same commit and patch each time", async () => {
    const repo = make();
    const made: string[] = [];
    for (const content of ["a\n", "a\n"]) {
      const { git, tree, head } = await workOn(repo);
      writeFileSync(join(tree, "a.txt"), content);
      const step = await commitTree(
        git,
        { tree: await stageAll(git, []), parent: head.commit, message: "step_01: x\n" },
        1_700_000_000,
      );
      made.push(step.commit + Buffer.from(step.patch).toString("utf8"));
      rmSync(repo.private, { recursive: true });
    }
    expect(made[0]).toBe(made[1]);
  });

  it("runs no hook, filter, textconv, external diff or fsmonitor of the user's repository", async () => {
    const repo = make({ "a.txt": "a\n", ".gitattributes": "* filter=evil diff=evil\n" });
    const mark = arm(repo);
    // Armed for real: plain git does run them.
    expect(repo.git("status", "--porcelain")).toBeDefined();
    expect(existsSync(mark)).toBe(true);
    rmSync(mark);
    const { git, tree, head, user } = await workOn(repo);
    writeFileSync(join(tree, "a.txt"), "b\n");
    const id = await stageAll(git, []);
    await readChanges(git, head.tree, id);
    await commitTree(git, { tree: id, parent: head.commit, message: "step_01: x\n" }, 1);
    await readHead(user);
    expect(existsSync(mark)).toBe(false);
  });

  it("takes what the request names although an ignore rule hides it, and nothing else", async () => {
    const repo = make({ ".gitignore": "out/\n" });
    const { git, tree, head } = await workOn(repo);
    mkdirSync(join(tree, "out"));
    writeFileSync(join(tree, "out/wanted"), "1");
    writeFileSync(join(tree, "out/other"), "2");
    const id = await stageAll(git, ["out/wanted"]);
    const changes = await readChanges(git, head.tree, id);
    expect(changes.map((one) => one.path)).toEqual(["out/wanted"]);
  });
});

describe("the judgement of changes", () => {
  async function changesOf(edit: (tree: string) => void): Promise<string> {
    const repo = make();
    const before = repo.state();
    const { git, tree, head } = await workOn(repo);
    edit(tree);
    try {
      const id = await stageAll(git, scanTree(tree));
      judgeChanges(await readChanges(git, head.tree, id), LIMITS);
      return "taken";
    } catch (error) {
      return (error as { code: string }).code;
    } finally {
      expect(repo.state()).toEqual(before);
    }
  }
  const link =
    (target: string, path: string) =>
    (tree: string): void => {
      symlinkSync(target, join(tree, path));
    };
  const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
  const cases: [string, string, (tree: string) => void][] = [
    [
      "an ordinary file",
      "taken",
      (t) => {
        writeFileSync(join(t, "x"), "x");
      },
    ],
    ["a link inside", "taken", link("../README.md", "src/l")],
    [
      "an executable",
      "taken",
      (t) => {
        writeFileSync(join(t, "x"), "x", { mode: 0o755 });
      },
    ],
    ["a link to an absolute path", "ERR_CHANGE_REFUSED", link("/etc/passwd", "l")],
    ["a link out", "ERR_CHANGE_REFUSED", link("../../x", "src/l")],
    ["a link that climbs behind a name", "ERR_CHANGE_REFUSED", link("src/../../x", "l")],
    ["a link into .git", "ERR_CHANGE_REFUSED", link(".git/config", "l")],
    ["a link into .git by its short name", "ERR_CHANGE_REFUSED", link("GIT~1/hooks", "l")],
    [
      ".gitattributes",
      "ERR_CHANGE_REFUSED",
      (t) => {
        writeFileSync(join(t, ".gitattributes"), "* filter=x");
      },
    ],
    [
      "a nested .gitmodules",
      "ERR_CHANGE_REFUSED",
      (t) => {
        writeFileSync(join(t, "src/.GitModules"), "x");
      },
    ],
    [
      ".gitignore",
      "ERR_CHANGE_REFUSED",
      (t) => {
        writeFileSync(join(t, ".gitignore"), "*");
      },
    ],
    [
      "a repository inside",
      "ERR_CHANGE_REFUSED",
      (t) => {
        execFileSync("git", ["init", "-q", join(t, "sub")]);
      },
    ],
    [
      "a .git file",
      "ERR_CHANGE_REFUSED",
      (t) => {
        writeFileSync(join(t, ".git"), "gitdir: /tmp");
      },
    ],
    [
      ".GIT",
      "ERR_CHANGE_REFUSED",
      (t) => {
        mkdirSync(join(t, ".GIT"));
      },
    ],
    [
      "git~1",
      "ERR_CHANGE_REFUSED",
      (t) => {
        writeFileSync(join(t, "src/GIT~1"), "x");
      },
    ],
    [
      "a FIFO",
      "ERR_CHANGE_REFUSED",
      (t) => {
        execFileSync("mkfifo", [join(t, "src/fifo")]);
      },
    ],
    [
      "a name that is not UTF-8",
      "ERR_CHANGE_REFUSED",
      (t) => {
        writeFileSync(Buffer.concat([bytes(`${t}/`), bytes("\xff\xfe")]), "x");
      },
    ],
    [
      "a name with a line end",
      "ERR_CHANGE_REFUSED",
      (t) => {
        writeFileSync(join(t, "a\nb"), "x");
      },
    ],
    [
      "a name that ends in a dot",
      "ERR_CHANGE_REFUSED",
      (t) => {
        writeFileSync(join(t, "a."), "x");
      },
    ],
    [
      "a file above its limit",
      "ERR_CHANGE_FILE_SIZE",
      (t) => {
        writeFileSync(join(t, "x"), Buffer.alloc(100_001));
      },
    ],
    [
      "too much altogether",
      "ERR_CHANGE_TOTAL",
      (t) => {
        for (const n of "abc") writeFileSync(join(t, n), Buffer.alloc(90_000, n));
      },
    ],
    [
      "too many files",
      "ERR_CHANGE_FILES",
      (t) => {
        for (let n = 0; n < 11; n++) writeFileSync(join(t, `f${n}`), String(n));
      },
    ],
  ];
  it.each(cases)("of %s is %s", async (_, expected, edit) => {
    expect(await changesOf(edit)).toBe(expected);
  });

  it("refuses a socket", async () => {
    const server = createServer();
    const code = await changesOf((tree) => {
      server.listen(join(tree, "s"));
    });
    server.close();
    expect(code).toBe("ERR_CHANGE_REFUSED");
  });

  it("refuses a gitlink and an embedded bare repository", async () => {
    const repo = make();
    const { git, tree, head } = await workOn(repo);
    const id = await git.text(["rev-parse", "HEAD"]);
    await git.bytes(["update-index", "--add", "--cacheinfo", `160000,${id},sub`]);
    const changes = await readChanges(git, head.tree, await git.text(["write-tree"]));
    expect(() => {
      judgeChanges(changes, LIMITS);
    }).toThrow(/repository inside/);
    await git.bytes(["read-tree", "HEAD"]);
    execFileSync("git", ["init", "-q", "--bare", join(tree, "bare")]);
    writeFileSync(
      join(tree, "bare/config"),
      `[core]\n\tfsmonitor = touch ${repo.folder}/ran\n\tbare = true\n`,
    );
    await stageAll(git, []);
    expect(existsSync(join(repo.folder, "ran"))).toBe(false);
  });
});

describe("the user's repository", () => {
  const refusals: [string, (repo: TestRepository) => string][] = [
    ["is no repository", (repo) => repo.folder],
    ["does not exist", (repo) => join(repo.root, "nowhere")],
    [
      "has no commit",
      (repo) => {
        repo.git("checkout", "-q", "--orphan", "fresh");
        return repo.root;
      },
    ],
    [
      "is in a merge",
      (repo) => {
        writeFileSync(join(repo.root, ".git/MERGE_HEAD"), "x");
        return repo.root;
      },
    ],
    [
      "is in a rebase",
      (repo) => {
        mkdirSync(join(repo.root, ".git/rebase-merge"));
        return repo.root;
      },
    ],
    [
      "is sparse",
      (repo) => {
        repo.git("sparse-checkout", "set", "src");
        return repo.root;
      },
    ],
    [
      "has a split index",
      (repo) => {
        repo.git("update-index", "--split-index");
        return repo.root;
      },
    ],
    [
      "names no folder in its .git file",
      (repo) => {
        mkdirSync(join(repo.root, "sub"));
        writeFileSync(join(repo.root, "sub/.git"), "nonsense");
        return join(repo.root, "sub");
      },
    ],
    [
      "is bare",
      (repo) => {
        repo.git("config", "core.bare", "true");
        return repo.root;
      },
    ],
  ];
  it.each(refusals)("is refused when it %s", async (_, prepare) => {
    const folder = prepare(make());
    const look = async (): Promise<unknown> => readHead(await inspectRepository(folder));
    await expect(look()).rejects.toMatchObject({ code: "ERR_REPOSITORY_REFUSED" });
  });

  it("is found from a folder in it, in a linked work tree, and with a detached HEAD", async () => {
    const repo = make();
    expect((await inspectRepository(join(repo.root, "src"))).root).toBe(repo.root);
    const linked = join(repo.folder, "linked");
    repo.git("worktree", "add", "-q", "--detach", linked);
    const user = await inspectRepository(linked);
    expect(user.objects).toBe(join(repo.root, ".git/objects"));
    expect(await readHead(user)).toMatchObject({ ref: null });
    expect(await readHead(await inspectRepository(repo.root))).toMatchObject({
      ref: "refs/heads/main",
    });
  });

  it("may be a shallow clone", async () => {
    const repo = make();
    repo.commit("second");
    const clone = join(repo.folder, "clone");
    repo.git("clone", "-q", "--depth=1", `file://${repo.root}`, clone);
    rmSync(repo.root, { recursive: true });
    execFileSync("mv", [clone, repo.root]);
    const { git, tree, head } = await workOn(repo);
    writeFileSync(join(tree, "x"), "x");
    const made = await commitTree(
      git,
      { tree: await stageAll(git, []), parent: head.commit, message: "step_01: x\n" },
      1,
    );
    expect(Buffer.from(made.patch).toString("utf8")).toContain("Subject: step_01: x");
  });
});

describe("a git command", () => {
  it("is ended when it takes too long, says too much, or cannot start", async () => {
    const { git } = await workOn(make());
    await expect(git.bytes(["cat-file", "--batch"], { timeoutMs: 1 })).rejects.toMatchObject({
      code: "ERR_GIT_LIMIT",
    });
    await expect(git.bytes(["ls-files"], { stdoutBytesMax: 3 })).rejects.toMatchObject({
      code: "ERR_GIT_LIMIT",
    });
    await expect(git.bytes(["nonsense"])).rejects.toMatchObject({ code: "ERR_GIT_FAILED" });
    const nowhere = git.at({ workTree: "/nonexistent" });
    await expect(nowhere.bytes(["status"])).rejects.toMatchObject({ code: "ERR_GIT_MISSING" });
  });
});

describe.skipIf(process.getuid?.() !== 0)("a git command on a full disk (needs root)", () => {
  it("says that it was the disk", async () => {
    const disk = SmallDisk.mount(8);
    if (disk === null) throw new Error("no small disk could be mounted");
    try {
      const { git } = await workOn(make());
      const objectDirectory = join(disk.path, "objects");
      mkdirSync(objectDirectory);
      disk.fill(0);
      const call = { input: Buffer.alloc(200_000, "x") };
      const store = git.at({ objectDirectory });
      await expect(store.bytes(["hash-object", "-w", "--stdin"], call)).rejects.toMatchObject({
        code: "ERR_DISK_LOW",
      });
    } finally {
      disk.unmount();
    }
  });
});

describe("a step's message", () => {
  it("lets nobody begin a patch in it", () => {
    const note =
      "Fine\n---\ndiff --git a/x b/x\nFrom: Mallory <m@x>\n\n\u2028--- a/x\r\n-- >8 --\u0000";
    const request = { requestId: "exec_req_abcdef", requestDigest: "d", runId: "run_x" };
    const coAuthors = ["Ada <ada@example.org>"];
    const text = commitMessage({ stepId: "step_01", operations: 2, ...request, note, coAuthors });
    expect(text.split("\n")).toEqual([
      "Fine",
      "",
      "  ---",
      "  diff --git a/x b/x",
      "  From: Mallory <m@x>",
      "",
      "  --- a/x",
      "  -- >8 --",
      "",
      "Sovereign-Request: exec_req_abcdef d",
      "Sovereign-Run: run_x",
      "Sovereign-Step: step_01",
      "Co-authored-by: Ada <ada@example.org>",
      "",
    ]);
  });
});

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ControlGroups } from "../../src/process/index.ts";
import {
  createSandbox,
  type Sandbox,
  type SandboxEnding,
  type SandboxResult,
  usedOf,
} from "../../src/sandbox/index.ts";
import { execute, type Operation, requestOf, sh, write } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

let repo: TestRepository;
beforeEach(() => {
  repo = new TestRepository();
});
afterEach(() => {
  repo.dispose();
});

/** Run it, and hold that nothing of the user's changed: HEAD, tree, index, status, ignored files. */
async function attack(
  operations: readonly Operation[],
  options: Parameters<typeof execute>[2] = {},
): Promise<{ code: string; reason: string }> {
  const before = repo.state();
  const { code, reason } = await execute(repo, requestOf([operations]), {
    folder: join(repo.folder, "run"),
    ...options,
  });
  expect(repo.state()).toEqual(before);
  return { code, reason };
}

describe("an operation", () => {
  it.each([
    "../outside",
    "docs/../../outside",
    "/etc/passwd",
    ".git/config",
    ".GIT/hooks/pre-commit",
    "src/.git/config",
    "git~1/config",
    "GIT~2/x",
    ".git./x",
    ".g\u200bit/config",
    "a\\b",
    "a\u0000b",
    "",
  ])("on the path %j is refused", async (path) => {
    const { code } = await attack([write("ok"), write(path === "" ? "." : path)]);
    expect(["ERR_POLICY_DENIED", "ERR_PATH_REFUSED"]).toContain(code);
  });

  it.each([
    ["a link out", "ln -s /etc/passwd there", "there"],
    ["a linked parent", "ln -s docs there", "there/new"],
    ["a linked parent further up", "mkdir -p a && ln -s ../docs a/there", "a/there/b/new"],
  ])("through %s is refused", async (_, script, path) => {
    // The link is made in one step, where a link out is refused by itself: so both ways are tried.
    const { code } = await attack([sh(script), write(path)]);
    expect(["ERR_PATH_REFUSED", "ERR_CHANGE_REFUSED"]).toContain(code);
  });

  it("on a committed link is refused, and what it points to is untouched", async () => {
    writeFileSync(join(repo.folder, "secret"), "mine");
    repo.link("out", join(repo.folder, "secret"));
    repo.commit("a link of the user's own");
    for (const action of ["write_file", "update_file"]) {
      const { code } = await attack([{ action, params: { path: "out", content: "x" } }], {
        folder: join(repo.folder, action),
      });
      expect(code).toBe("ERR_PATH_REFUSED");
    }
    expect(readFileSync(join(repo.folder, "secret"), "utf8")).toBe("mine");
  });

  it("on a file with a second name is refused", async () => {
    const { code } = await attack([sh("ln README.md twin"), write("twin")]);
    expect(code).toBe("ERR_PATH_REFUSED");
  });

  it.each([
    [
      "that is not there",
      "ERR_PATH_REFUSED",
      { action: "update_file", params: { path: "none", content: "x" } },
    ],
    [
      "that is not there, away",
      "ERR_PATH_REFUSED",
      { action: "delete_file", params: { path: "none" } },
    ],
    ["that is a folder", "ERR_PATH_REFUSED", { action: "delete_file", params: { path: "src" } }],
    [
      "too large",
      "ERR_CHANGE_FILE_SIZE",
      { action: "write_file", params: { path: "big", content: "x".repeat(1024 * 1024 + 1) } },
    ],
    [
      "with a patch of another file",
      "ERR_CHANGE_REFUSED",
      {
        action: "patch_file",
        params: {
          path: "src/app.ts",
          patch: "--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-# Hello\n+# Bye\n",
        },
      },
    ],
    [
      "with a patch that leaves the tree",
      "ERR_CHANGE_REFUSED",
      {
        action: "patch_file",
        params: { path: "x", patch: "--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+evil\n" },
      },
    ],
    [
      "with a patch that does not fit",
      "ERR_CHANGE_MISFIT",
      {
        action: "patch_file",
        params: {
          path: "README.md",
          patch: "--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-nothing\n+# Bye\n",
        },
      },
    ],
    [".gitattributes", "ERR_CHANGE_REFUSED", write(".gitattributes", "* filter=evil\n")],
    [".gitmodules", "ERR_CHANGE_REFUSED", write(".gitmodules", "[submodule]\n")],
    [".gitignore", "ERR_CHANGE_REFUSED", write("src/.gitignore", "*\n")],
  ] as const)("on a file %s is refused", async (_, code, operation) => {
    expect(await attack([operation as Operation])).toMatchObject({ code });
  });

  it("of a kind that nobody defined is denied", async () => {
    for (const action of ["launch_rocket", "file.teleport", "git_branch"]) {
      const folder = join(repo.folder, action);
      expect(await attack([{ action, params: {} }], { folder })).toMatchObject({
        code: "ERR_ACTION_UNKNOWN",
      });
    }
  });
});

describe("a command", () => {
  it.each([
    ["a repository inside", "mkdir -p sub/.git && echo x > sub/.git/config"],
    [".GIT", "mkdir .GIT"],
    ["GIT~1", "mkdir GIT~1"],
    ["a FIFO", "mkfifo pipe"],
    ["a link out", "ln -s ../../etc/passwd l"],
    ["an absolute link", "ln -s /etc/shadow l"],
    ["attributes", "echo '* filter=x' > .gitattributes"],
    ["ignore rules that hide themselves", "echo '*' > .gitignore; echo evil > hidden"],
    ["a name that is not UTF-8", "touch \"$(printf 'a\\377b')\""],
    ["a name with a line end", "touch \"$(printf 'a\\nb')\""],
    [
      "a socket",
      "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Type=>SOCK_STREAM,Local=>\"s\",Listen=>1)'; test -S s",
    ],
  ])("that leaves %s is refused", async (_, script) => {
    expect(await attack([sh(script)])).toMatchObject({ code: "ERR_CHANGE_REFUSED" });
  });

  it.each([
    ["makes a repository", "git init -q"],
    ["makes a repository elsewhere for here", "git init -q --separate-git-dir=/tmp/git"],
    ["makes .git", "mkdir .git"],
    ["writes a .git file", "echo 'gitdir: /tmp' > .git"],
    ["puts a .git file in its place", "echo 'gitdir: /tmp' > x && mv -fT x .git"],
    [
      "writes a .git folder's monitor",
      "printf '[core]\\n\\tfsmonitor = touch /tmp/ran\\n' > .git/config",
    ],
    ["removes .git", "rm -rf .git"],
    ["moves .git", "mv .git other"],
    ["opens .git to itself", "chmod 777 .git"],
    ["takes the cover off", "umount .git || umount -l .git"],
    ["finds a repository", "git rev-parse --git-dir"],
    ["makes a device", "mknod dev c 1 3"],
    ["links a file of the system", "ln /usr/bin/env twin"],
    ["links a file of the user's", "ln $OLDPWD/README.md twin"],
    ["sees the user's repository", "test -e @ROOT@/README.md"],
    ["sees our private repository", "test -e @GIT@"],
    ["writes the evidence", "echo evil >> @RUN@/audit/run_tape.jsonl"],
    [
      "writes a patch",
      "mkdir -p @RUN@/patches && echo evil > @RUN@/patches/step_01.patch && test -w @RUN@/audit",
    ],
    [
      "reaches the network",
      "perl -MIO::Socket::INET -e 'exit(IO::Socket::INET->new(PeerAddr=>\"127.0.0.1:5432\") ? 0 : 1)'",
    ],
  ])("that %s fails", async (_, script) => {
    const run = join(repo.folder, "run");
    const real = script
      .replaceAll("@GIT@", join(run, "work", "attempt-1", "git", "HEAD"))
      .replaceAll("@ROOT@", repo.root)
      .replaceAll("@RUN@", run);
    expect(await attack([sh(real)])).toMatchObject({ code: "ERR_COMMAND_FAILED" });
    expect(existsSync(join(run, "patches"))).toBe(false);
    expect(readFileSync(join(run, "audit/run_tape.jsonl"), "utf8")).not.toContain("evil");
  });

  it("finds .git empty at its tree's root, and leaves no trace of it", async () => {
    const tries = "mkdir .git; git init; echo x > .git/HEAD; rm -rf .git; mv .git git";
    const script = `(${tries}) 2>/dev/null; test -z "$(ls -A .git)" && pwd > good.txt`;
    const folder = join(repo.folder, "run");
    const { code } = await execute(repo, requestOf([[sh(script)], [write("a.txt")]]), { folder });
    expect(code).toBe("none");
    expect(repo.git("diff", "--name-only", "HEAD~2", "HEAD")).toBe("a.txt\ngood.txt");
    expect(readdirSync(join(folder, "work/attempt-1/tree"))).not.toContain(".git");
  });

  it("cannot edit after it ended: what it leaves in the background is dead", async () => {
    const script =
      "(setsid sh -c 'sleep 1; echo late > late.txt; echo late > README.md' &) ; echo x > early.txt";
    const { code, run } = await execute(repo, requestOf([[sh(script)], [write("second.txt")]]), {
      folder: join(repo.folder, "run"),
    });
    expect(code).toBe("none");
    await sleep(1300);
    expect(run.done.steps).toHaveLength(2);
    expect(repo.git("diff", "--name-only", "HEAD~2", "HEAD")).toBe("early.txt\nsecond.txt");
    expect(existsSync(join(repo.root, "late.txt"))).toBe(false);
  });

  it.each([
    ["says too much", "ERR_COMMAND_OUTPUT", sh("cat /dev/zero")],
    ["takes too long", "ERR_COMMAND_TIMEOUT", sh("trap '' TERM; sleep 30", { timeout_seconds: 1 })],
    [
      "writes too large a file",
      "ERR_COMMAND_FILE_SIZE",
      sh("exec head -c 5000000 /dev/zero > big"),
    ],
    [
      "writes too many files",
      "ERR_CHANGE_FILES",
      sh("i=0; while [ $i -lt 30 ]; do echo $i > f$i; i=$((i+1)); done"),
    ],
    ["fails", "ERR_COMMAND_FAILED", sh("exit 3")],
  ])("that %s is ended as %s", async (_, code, operation) => {
    expect(await attack([operation])).toMatchObject({ code });
  });

  it("that forks without end is stopped, with all that it forked", async () => {
    const storm =
      "f() { f | f & }; f; sleep 5; i=0; while [ $i -lt 400 ]; do sleep 5 & i=$((i+1)); done";
    const { code } = await attack([sh(storm, { timeout_seconds: 3 })]);
    expect(["ERR_COMMAND_TIMEOUT", "ERR_COMMAND_FAILED", "ERR_COMMAND_MEMORY", "none"]).toContain(
      code,
    );
    expect(code).not.toBe("none");
  });

  it("that fills the disk is refused at its files", async () => {
    const fill = "i=0; while [ $i -lt 12 ]; do head -c 1000000 /dev/zero > f$i; i=$((i+1)); done";
    expect(await attack([sh(fill)])).toMatchObject({ code: "ERR_CHANGE_FILES" });
  });

  it.each<[string, object, string, Operation]>([
    ["says more", { max_output_mb: 1 }, "ERR_COMMAND_OUTPUT", sh("head -c 1100000 /dev/zero")],
    ["works longer", { max_cpu_seconds: 1 }, "ERR_COMMAND_CPU", sh("while :; do :; done")],
    [
      "writes more altogether",
      { max_files: 10, max_total_mb: 1 },
      "ERR_CHANGE_TOTAL",
      sh("for i in 1 2 3; do head -c 400000 /dev/zero > f$i; done"),
    ],
  ])("that %s than the policy's own limit is ended", async (_, limits, code, operation) => {
    const policy = { limits: { max_file_size_mb: 1, timeout_seconds: 20, ...limits } };
    expect(await attack([operation], { policy })).toMatchObject({ code });
  });

  it("gets the memory and the processes that policy says", async () => {
    const seen: object[] = [];
    const real = createSandbox();
    const sandbox: Sandbox = {
      run: (request, signal) => {
        seen.push(request.limits);
        return real.run(request, signal);
      },
    };
    for (const limits of [{}, { max_memory_mb: 64, max_processes: 9 }]) {
      const folder = join(repo.folder, `run-${seen.length}`);
      const { code } = await execute(repo, requestOf([[sh("true")]]), {
        sandbox,
        folder,
        policy: { limits },
      });
      expect(code).toBe("none");
    }
    expect(seen).toMatchObject([
      { memoryBytes: 2048 * 1024 * 1024, processes: 256 },
      { memoryBytes: 64 * 1024 * 1024, processes: 9 },
    ]);
  });

  it("that is refused processes fails by that limit, or says that it was", async () => {
    const policy = { limits: { max_processes: 8, timeout_seconds: 60 } };
    const more = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do sleep 1 & done";
    const { code, reason } = await attack([sh(`${more}; wait; exit 3`)], { policy });
    const counted = ControlGroups.root("standalone").limitsProcesses;
    if (!counted) {
      // Nobody tells which processes a limit of the user's refused.
      expect(code).toBe("ERR_COMMAND_FAILED");
      return;
    }
    expect(code).toBe("ERR_COMMAND_PROCESSES");
    expect(reason).toContain("process_limit");
    const sandbox = createSandbox();
    const ends: SandboxResult[] = [];
    const watching: Sandbox = {
      run: async (request, signal) => {
        const end = await sandbox.run(request, signal);
        ends.push(end);
        return end;
      },
    };
    const folder = join(repo.folder, "well");
    const well = `(${more}; wait) 2>/dev/null; exit 0`;
    const end = await execute(repo, requestOf([[sh(well)]]), { policy, folder, sandbox: watching });
    expect(end.code).toBe("none");
    expect(ends).toMatchObject([{ ended: "exited", exitCode: 0, refusedProcesses: true }]);
    expect(ends.map(usedOf)).toMatchObject([{ processes_refused: true }]);
  });

  it("is held to the limits together with all steps before it", async () => {
    const step = (from: number): Operation[] => [
      sh(`i=${from}; while [ $i -lt ${from + 6} ]; do echo $i > f$i; i=$((i+1)); done`),
    ];
    const before = repo.state();
    const end = await execute(repo, requestOf([step(0), step(6)]));
    expect(end.code).toBe("ERR_CHANGE_FILES");
    expect(end.run.done.steps).toHaveLength(1);
    expect(repo.state()).toEqual(before);
  });

  it("may change only what policy lets operations change", async () => {
    const allowlist = {
      file_operations: ["write_file"],
      paths: ["docs/**"],
      commands: [{ id: "all", executable: "sh", allowed_args: ["**"] }],
    };
    const policy = { allowlist };
    const inside = await execute(repo, requestOf([[sh("echo more > docs/more.md")]]), { policy });
    expect(inside.code).toBe("none");
    const elsewhere = /allowlist\.paths has "docs\/\*\*"/;
    const attacks: [string, RegExp][] = [
      ["echo x > src/app.ts", elsewhere],
      ["rm docs/guide.md", /"docs\/\*\*" matches .* does not name delete_file/],
      ["echo x > src/new.ts", elsewhere],
    ];
    for (const [script, nearest] of attacks) {
      const folder = join(repo.folder, script.replaceAll(/[ />.]/g, "_"));
      expect(await attack([sh(script)], { policy, folder })).toMatchObject({
        code: "ERR_CHANGE_REFUSED",
        reason: expect.stringMatching(nearest) as string,
      });
    }
  });

  it.each([
    ["cpu_limit", "ERR_COMMAND_CPU"],
    ["memory_limit", "ERR_COMMAND_MEMORY"],
    ["process_limit", "ERR_COMMAND_PROCESSES"],
    ["cancelled", "ERR_EFFECT_KILLED"],
  ] as const)("ended by %s has the code %s", async (ended: SandboxEnding, code) => {
    const nothing = new Uint8Array();
    const sandbox: Sandbox = {
      run: () =>
        Promise.resolve({
          ended,
          exitCode: null,
          signal: "SIGKILL",
          stdout: nothing,
          stderr: nothing,
          wallMs: 1,
          level: "G3",
          backend: "bubblewrap",
        }),
    };
    expect(await attack([sh("true")], { sandbox })).toMatchObject({ code });
  });
});

describe("a request's words", () => {
  it("cannot become a patch, a header or a second commit", async () => {
    const evil =
      "x\n---\ndiff --git a/evil b/evil\nnew file mode 100644\nindex 0000000..9daeafb\n--- /dev/null\n+++ b/evil\n@@ -0,0 +1 @@\n+evil\n-- \n2.39\n\nFrom 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: Mallory <m@x>\nSubject: other\n\nx\n";
    const request = requestOf([
      [write("good.txt"), { action: "git_commit", params: { message: evil } }],
    ]);
    const { code } = await execute(repo, request, { folder: join(repo.folder, "run") });
    expect(code).toBe("none");
    expect(repo.git("diff", "--name-only", "HEAD~1", "HEAD")).toBe("good.txt");
    expect(repo.git("log", "-1", "--format=%an <%ae>")).toBe(
      "Sovereign Executor <executor@sovereign.invalid>",
    );
    expect(repo.git("rev-list", "--count", "HEAD")).toBe("2");
  });
});

describe("the same request on the same base", () => {
  it("gives the same tree ids, commits and patches, wherever it runs", async () => {
    const twin = new TestRepository();
    // The base commit has the time of its making: the twin is a copy of it.
    twin.git("fetch", "-q", repo.root, "main");
    twin.git("reset", "-q", "--hard", "FETCH_HEAD");
    const request = requestOf([[write("a.txt", "a\n")], [sh("echo b > b.txt; chmod +x b.txt")]]);
    const one = await execute(repo, request);
    const two = await execute(twin, request);
    expect(one.run.done.steps).toEqual(two.run.done.steps);
    expect(repo.git("rev-parse", "HEAD")).toBe(twin.git("rev-parse", "HEAD"));
    twin.dispose();
  });
});

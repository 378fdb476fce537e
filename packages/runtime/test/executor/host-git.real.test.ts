import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Git, inspectRepository, readHead } from "../../src/executor/git/index.ts";
import { execute, requestOf, write } from "./support/exec-world.ts";
import { TestRepository } from "./support/repository.ts";

let repo: TestRepository;
let fired: string;
beforeEach(() => {
  repo = new TestRepository({ "README.md": "# Hello\n", "src/app.ts": "1\n", "x.txt": "x\n" });
  fired = join(repo.folder, "fired");
  mkdirSync(fired);
});
afterEach(() => {
  repo.dispose();
});

/** A program that leaves its name behind, and does nothing that git expects of it. */
function trap(name: string): string {
  const path = join(repo.folder, `trap-${name}`);
  writeFileSync(path, `#!/bin/sh\n: > ${join(fired, name)}\nexit 1\n`, { mode: 0o755 });
  return path;
}

const inGit = (path: string, text: string, mode = 0o644): void => {
  mkdirSync(join(repo.root, ".git", path, ".."), { recursive: true });
  writeFileSync(join(repo.root, ".git", path), text, { mode });
};
const HOOKS = ["pre-commit", "post-commit", "post-checkout", "post-index-change", "post-merge"];
const MORE_HOOKS = ["reference-transaction", "pre-auto-gc", "applypatch-msg", "fsmonitor-watchman"];

/** Whatever a repository's configuration can name that git starts, and what sets it off. */
const PROGRAMS: readonly [string, (program: string) => void][] = [
  ...["core.fsmonitor", "core.sshCommand", "core.editor", "core.pager", "core.gitProxy"].map(set),
  ...["core.askPass", "core.alternateRefsCommand", "credential.helper", "gpg.program"].map(set),
  ...["gpg.ssh.program", "gpg.ssh.defaultKeyCommand", "diff.external", "sequence.editor"].map(set),
  ...["interactive.diffFilter", "diff.all.textconv", "diff.all.command", "merge.all.driver"].map(
    set,
  ),
  ...["filter.all.clean", "filter.all.smudge", "filter.all.process", "mergetool.x.cmd"].map(set),
  ...["trailer.x.command", "uploadpack.packObjectsHook", "gc.recentObjectsHook"].map(set),
  ...["pager.log", "pager.diff-tree", "pager.rev-parse", "pager.ls-files", "browser.x.cmd"].map(
    set,
  ),
  ["alias", aliases],
  [
    "hooks",
    (program) => {
      [...HOOKS, ...MORE_HOOKS].forEach((hook) => {
        inGitHook(hook, program);
      });
    },
  ],
  [
    "core.hooksPath",
    (program) => {
      for (const hook of HOOKS) repo.write(`../hooks/${hook}`, `#!/bin/sh\n${program}\n`, 0o755);
      repo.git("config", "core.hooksPath", join(repo.folder, "hooks"));
    },
  ],
  [
    "include.path",
    (program) => {
      writeFileSync(join(repo.folder, "more"), `[core]\n\tfsmonitor = ${program}\n`);
      repo.git("config", "include.path", join(repo.folder, "more"));
    },
  ],
  [
    "includeIf",
    (program) => {
      writeFileSync(join(repo.folder, "if"), `[diff]\n\texternal = ${program}\n`);
      repo.git("config", `includeIf.gitdir:${repo.root}/.path`, join(repo.folder, "if"));
    },
  ],
];

function set(name: string): [string, (program: string) => void] {
  return [name, (program) => repo.git("config", name, program)];
}

function aliases(program: string): void {
  for (const word of ["rev-parse", "am", "apply", "read-tree", "diff-tree"]) {
    repo.git("config", `alias.${word}`, `!${program}`);
  }
}

function inGitHook(hook: string, program: string): void {
  inGit(`hooks/${hook}`, `#!/bin/sh\n${program}\n`, 0o755);
}

const REQUEST = requestOf([[write("made.txt"), write("src/app.ts", "2\n"), write("x.txt", "3\n")]]);
const run = (): ReturnType<typeof execute> =>
  execute(repo, REQUEST, { folder: join(repo.folder, "run") });

describe("what a repository's configuration names", () => {
  it("does not run: of all of it together, nothing is started by a whole execution", async () => {
    inGit("info/attributes", "* filter=all diff=all merge=all\n");
    for (const [name, plant] of PROGRAMS) plant(trap(name));
    // Without the user's own git: it would set them off.
    const { code, reason } = await run();
    expect({ code, reason }).toEqual({ code: "none", reason: "" });
    expect(readdirSync(fired)).toEqual([]);
    expect(repo.read("x.txt")).toBe("3\n");
  });

  it("does not fetch: neither what is missing, nor where it allows a transport by its name", async () => {
    const program = trap("ext");
    const config: [string, string][] = [
      ["core.repositoryformatversion", "1"],
      ["extensions.partialClone", "origin"],
      ["remote.origin.promisor", "true"],
      ["remote.origin.url", `ext::${program}`],
      ["protocol.ext.allow", "always"],
      ["protocol.file.allow", "always"],
    ];
    for (const [name, value] of config) repo.git("config", name, value);
    const user = await inspectRepository(repo.root);
    const git = new Git({ gitDir: user.gitDir });
    await expect(git.bytes(["fetch", "origin"])).rejects.toMatchObject({ code: "ERR_GIT_FAILED" });
    writeFileSync(join(repo.root, ".git/refs/heads/main"), `${"1".repeat(40)}\n`);
    await expect(readHead(user)).rejects.toMatchObject({ code: "ERR_REPOSITORY_DAMAGED" });
    expect(readdirSync(fired)).toEqual([]);
  });
});

/** What a repository says of itself, or of files, that is not so for a run; each group in one run. */
const STATEMENTS: readonly [string, () => void][] = [
  [
    "core.worktree, core.excludesFile, info/exclude, core.attributesFile and info/attributes",
    () => {
      repo.git("config", "core.worktree", join(repo.folder, "elsewhere"));
      inGit("info/exclude", "*\n");
      inGit("info/attributes", "* -diff -text working-tree-encoding=UTF-16\n");
      for (const name of ["core.excludesFile", "core.attributesFile"]) {
        repo.git("config", name, everything(name));
      }
    },
  ],
  [
    "core.sparseCheckout",
    () => {
      repo.git("config", "core.sparseCheckout", "true");
      inGit("info/sparse-checkout", "/README.md\n");
    },
  ],
  [
    "grafts, replace refs, a commit graph that is none and an alternate that is not there",
    () => {
      replaceTree();
      inGit("info/grafts", `${repo.git("rev-parse", "HEAD")} ${"2".repeat(40)}\n`);
      inGit("objects/info/commit-graph", "not a graph");
      inGit("objects/info/alternates", "/nonexistent\n");
    },
  ],
];

function everything(name: string): string {
  const path = join(repo.folder, name);
  writeFileSync(path, name === "core.attributesFile" ? "* -diff\n" : "*\n");
  return path;
}

function replaceTree(): void {
  const empty = repo.git("hash-object", "-t", "tree", "-w", "/dev/null");
  inGit(`refs/replace/${repo.git("rev-parse", "HEAD^{tree}")}`, `${empty}\n`);
}

describe("what a repository says of itself", () => {
  it.each(STATEMENTS)("in %s, changes nothing of what a run does", async (_, plant) => {
    mkdirSync(join(repo.folder, "elsewhere"));
    plant();
    const { code, reason } = await run();
    expect({ code, reason }).toEqual({ code: "none", reason: "" });
    const read = (path: string): string => readFileSync(join(repo.root, path), "utf8");
    expect([read("made.txt"), read("src/app.ts"), read("x.txt")]).toEqual(["x\n", "2\n", "3\n"]);
    expect(readdirSync(join(repo.folder, "elsewhere"))).toEqual([]);
    expect(readdirSync(join(repo.root, ".git")).filter((one) => one.startsWith("shared"))).toEqual(
      [],
    );
    // What came of it, as a git sees it that obeys nothing: the base's files, and these three.
    const { gitDir } = await inspectRepository(repo.root);
    const plain = new Git({ gitDir });
    expect(await plain.text(["ls-tree", "-r", "--name-only", "HEAD"])).toBe(
      "README.md\nmade.txt\nsrc/app.ts\nx.txt",
    );
    expect(await plain.text(["diff-index", "--cached", "--name-only", "HEAD"])).toBe("");
    expect(await plain.text(["ls-files", "-t"])).not.toMatch(/^S /m);
  });
});

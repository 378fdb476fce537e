import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { judgeTree, type TreeEntry } from "@sovereign/core";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";

const scratch = mkdtempSync(join(tmpdir(), "sov-discovery-"));
afterAll(() => {
  rmSync(scratch, { recursive: true, force: true });
});

interface Planned {
  readonly path: string;
  readonly content: string;
  readonly how: "file" | "executable" | "link";
}

const name = fc.constantFrom("HEAD", "objects", "refs", "commondir", ".git", "config", "a", "b");
const planned: fc.Arbitrary<Planned> = fc.record({
  path: fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => names.join("/")),
  content: fc.constantFrom(
    "ref: refs/heads/main",
    "0".repeat(40),
    "gitdir: a",
    "gitdir: ../b",
    ".",
    "../a",
    "refs/heads/main",
  ),
  how: fc.constantFrom("file", "executable", "link"),
});
/** Random, with most of a repository put into one folder: else hardly any would be found. */
const seeded = fc
  .tuple(
    fc.array(planned, { maxLength: 6 }),
    fc.constantFrom("", "a/", "a/b/", "b/"),
    fc.subarray(["HEAD", "objects/x", "refs/x", "commondir"], { minLength: 3 }),
  )
  .map(([others, folder, parts]) => {
    const seeds = parts.map((part): Planned => {
      const content = part === "commondir" ? "." : "ref: refs/heads/main";
      return { path: `${folder}${part}`, content, how: "executable" };
    });
    return { files: [...seeds, ...others], seed: folder === "" ? "." : folder };
  });

let count = 0;
function plant(files: readonly Planned[]): string {
  count += 1;
  const root = join(scratch, String(count), "tree");
  mkdirSync(root, { recursive: true });
  for (const { path, content, how } of files) {
    const full = join(root, path);
    try {
      makeFolders(root, dirname(path));
      if (how === "link") symlinkSync(content, full);
      else writeFileSync(full, `${content}\n`, { flag: "wx" });
      if (how === "executable") chmodSync(full, 0o755);
    } catch {
      // Something else is there already.
    }
  }
  return root;
}

/** Not by `recursive`: Node never ends where a link that leads nowhere is on the way. */
function makeFolders(root: string, folder: string): void {
  if (folder === ".") return;
  makeFolders(root, dirname(folder));
  const found = lstatSync(join(root, folder), { throwIfNoEntry: false });
  if (found === undefined) mkdirSync(join(root, folder));
  else if (!found.isDirectory()) throw new Error("no folder");
}

/** Without following links, as git has a tree. */
function readTree(root: string, folder = "", tree = new Map<string, TreeEntry>()) {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) readTree(root, path, tree);
    else if (entry.isFile()) tree.set(path, { kind: "file", target: null });
    else tree.set(path, { kind: "link", target: readlinkSync(join(root, path)) });
  }
  return tree;
}

/** What git says that it found from a folder, with nothing told to it; null for nothing. */
function discover(root: string, folder: string, more: NodeJS.ProcessEnv = {}): string | null {
  const { status, stdout } = spawnSync("git", ["rev-parse", "--absolute-git-dir"], {
    cwd: join(root, folder),
    encoding: "utf8",
    env: { PATH: process.env["PATH"], GIT_CEILING_DIRECTORIES: dirname(root), HOME: root, ...more },
  });
  return status === 0 ? stdout.trim() : null;
}

function foldersOf(tree: ReadonlyMap<string, TreeEntry>): string[] {
  const folders = new Set(["."]);
  for (const path of tree.keys()) {
    for (let at = dirname(path); at !== "."; at = dirname(at)) folders.add(at);
  }
  return [...folders];
}

describe("a tree in which git discovers a repository", () => {
  it("is refused, all that lies in the repository, whatever it is made of", () => {
    let found = 0;
    fc.assert(
      fc.property(seeded, ({ files, seed }) => {
        const root = plant(files);
        const tree = readTree(root);
        // Each look starts a git: the folder that was seeded, and another.
        for (const folder of new Set([seed, foldersOf(tree).at(-1) ?? "."])) {
          const repository = discover(root, folder);
          if (repository === null) continue;
          found += 1;
          const at = relative(root, repository);
          const inside = [...tree.keys()].filter((path) => at === "" || path.startsWith(`${at}/`));
          const { refused } = judgeTree(tree, [...tree.keys()]);
          const paths = new Set(refused.map((one) => one.path));
          expect(inside.filter((path) => !paths.has(path))).toEqual([]);
          expect(paths.size).toBeGreaterThan(0);
        }
      }),
      { numRuns: 50 },
    );
    expect(found).toBeGreaterThan(5);
  });

  it("is refused where the environment names the objects", () => {
    const root = plant([
      { path: "d/HEAD", content: "ref: refs/heads/main", how: "file" },
      { path: "d/refs/x", content: "x", how: "file" },
    ]);
    expect(discover(root, "d", { GIT_OBJECT_DIRECTORY: scratch })).toBe(join(root, "d"));
    const tree = readTree(root);
    expect(judgeTree(tree, [...tree.keys()]).refused).toHaveLength(2);
  });

  it("runs what its configuration names: the reason for all of this", () => {
    const root = plant([
      { path: "d/HEAD", content: "ref: refs/heads/main", how: "file" },
      { path: "d/objects/x", content: "x", how: "file" },
      { path: "d/refs/x", content: "x", how: "file" },
    ]);
    const ran = join(root, "ran");
    const settings = `[core]\n\tbare = false\n\tworktree = ..\n\tfsmonitor = "touch ${ran}; false"\n`;
    writeFileSync(join(root, "d/config"), `${settings}\trepositoryformatversion = 0\n`);
    const env = { PATH: process.env["PATH"], HOME: root };
    execFileSync("git", ["status"], { cwd: join(root, "d"), env, stdio: "ignore" });
    expect(lstatSync(ran).isFile()).toBe(true);
  });
});

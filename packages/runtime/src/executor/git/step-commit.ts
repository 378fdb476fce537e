import { type Dirent, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { foldName, quoted, SovereignError } from "@sovereign/core";
import type { Git, GitCall } from "./git.ts";

/** A commit that we made, with the patch that makes it again elsewhere. */
export interface StepCommit {
  readonly parent: string;
  readonly commit: string;
  readonly tree: string;
  readonly patch: Uint8Array;
}

/**
 * Put everything that differs into the index. What ignore rules hide stays out, except for
 * `always`, which the request itself named.
 *
 * @returns the id of the tree
 */
export async function stageAll(git: Git, always: readonly string[]): Promise<string> {
  await git.bytes(["add", "--all"]);
  const named = always.filter((path) => exists(git, path));
  if (named.length > 0) {
    const args = ["add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"];
    await git.bytes(args, { input: named.join("\0") });
  }
  return git.text(["write-tree"]);
}

/**
 * Put these paths alone into the index, as they are now: there, changed or gone. For operations of
 * ours, which change nothing else.
 *
 * @returns the id of the tree
 */
export async function stageNamed(git: Git, paths: readonly string[]): Promise<string> {
  const { workTree = "/" } = git.place;
  const files = paths.filter(
    (path) => lstatSync(join(workTree, path), { throwIfNoEntry: false })?.isDirectory() !== true,
  );
  if (files.length > 0) {
    const args = ["update-index", "--add", "--remove", "--replace", "-z", "--stdin"];
    await git.bytes(args, { input: files.join("\0") });
  }
  return git.text(["write-tree"]);
}

function exists(git: Git, path: string): boolean {
  const { workTree = "/" } = git.place;
  return lstatSync(join(workTree, path), { throwIfNoEntry: false }) !== undefined;
}

/**
 * Commit a tree on a parent and write it as a patch. No hook, no editor, no signature; the same
 * again gives the same commit.
 */
export async function commitTree(
  git: Git,
  step: {
    readonly tree: string;
    readonly parent: string;
    readonly message: string;
    /** `Name <address>`; the executor where it is absent. */
    readonly author?: string | undefined;
  },
  at: number,
): Promise<StepCommit> {
  const { tree, parent, message } = step;
  const call = { input: message, at, ...authorIn(step.author) };
  const commit = await git.text(["commit-tree", tree, "-p", parent], call);
  await git.bytes(["update-ref", "--no-deref", "HEAD", commit]);
  return { parent, commit, tree, patch: await formatPatch(git, commit) };
}

function authorIn(text: string | undefined): Pick<GitCall, "author"> {
  const [, name, email] = /^(.+) <([^<>]+)>$/.exec(text ?? "") ?? [];
  return name === undefined || email === undefined ? {} : { author: { name, email } };
}

/** The patch of one commit, the same bytes each time. */
export function formatPatch(git: Git, commit: string): Promise<Uint8Array> {
  return git.bytes([
    "format-patch",
    ...["--stdout", "--binary", "--full-index", "--no-renames", "--no-signature"],
    ...["--keep-subject", "--always", "--no-textconv", "--no-ext-diff", "-1"],
    commit,
  ]);
}

const ENTRIES_MAX = 2_000_000;

/**
 * Look at every name of a tree that a sandboxed command could write, before git looks at it: no
 * repositories inside, nothing but files, folders and links. Run it when nothing of the command
 * lives any more.
 *
 * @param submodules the folders that stand for other repositories' commits: nothing is in them, and
 *   git would leave out without a word what a command puts there
 * @returns the ignore rules that lie in it: hidden by themselves, they would hide what they name,
 *   so they are staged by name and judged like any change
 * @throws ERR_CHANGE_REFUSED
 */
export function scanTree(root: string, submodules: ReadonlySet<string> = new Set()): string[] {
  let count = 0;
  const ignoreFiles: string[] = [];
  // Names of bytes, each a character: a name need not be UTF-8, and is looked into all the same.
  const folders = [""];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const entries = namesIn(root, folder);
    count += entries.length;
    if (count > ENTRIES_MAX) throw refused(root, `it has more than ${ENTRIES_MAX} entries`);
    if (entries.length > 0 && submodules.has(textOf(folder))) {
      throw refused(textOf(folder), "it is a submodule's: this repository holds nothing of it");
    }
    for (const entry of entries) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      requirePlain(entry, textOf(path));
      if (entry.isDirectory()) folders.push(path);
      else if (entry.name === ".gitignore") ignoreFiles.push(textOf(path));
    }
  }
  return ignoreFiles;
}

function requirePlain(entry: Dirent, path: string): void {
  const name = textOf(entry.name);
  if (foldName(name) === ".git" || /^git~\d+$/i.test(name)) {
    throw refused(path, "it would be a repository inside the repository");
  }
  if (!entry.isDirectory() && !entry.isFile() && !entry.isSymbolicLink()) {
    throw refused(path, "it is no file, folder or link");
  }
}

/** Linux takes paths of 4096 bytes; a command can make longer ones, name by name. */
const FOLDER_BYTES_MAX = 3800;

function namesIn(root: string, folder: string): Dirent[] {
  const path = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(folder, "latin1")]);
  if (path.length > FOLDER_BYTES_MAX) {
    throw refused(textOf(folder), "it is a folder deeper than paths can name");
  }
  return readdirSync(path, { withFileTypes: true, encoding: "latin1" });
}

function textOf(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

function refused(path: string, why: string): SovereignError {
  const text = `The change of ${quoted(path)} is refused: ${why}.`;
  return new SovereignError("ERR_CHANGE_REFUSED", text, { path: path.slice(0, 200) });
}

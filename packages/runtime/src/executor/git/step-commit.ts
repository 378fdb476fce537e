import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import type { Git } from "./git.ts";

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
  step: { readonly tree: string; readonly parent: string; readonly message: string },
  at: number,
): Promise<StepCommit> {
  const { tree, parent, message } = step;
  const commit = await git.text(["commit-tree", tree, "-p", parent], { input: message, at });
  await git.bytes(["update-ref", "--no-deref", "HEAD", commit]);
  return { parent, commit, tree, patch: await formatPatch(git, commit) };
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
 * @returns the ignore rules that lie in it: hidden by themselves, they would hide what they name,
 *   so they are staged by name and judged like any change
 * @throws ERR_CHANGE_REFUSED
 */
export function scanTree(root: string): string[] {
  let count = 0;
  const ignoreFiles: string[] = [];
  const folders = [root];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      count += 1;
      if (count > ENTRIES_MAX) throw refused(root, `it has more than ${ENTRIES_MAX} entries`);
      const path = join(folder, entry.name);
      if (/^(\.git|git~\d+)$/i.test(entry.name)) {
        throw refused(
          path.slice(root.length + 1),
          "it would be a repository inside the repository",
        );
      }
      if (entry.isDirectory()) folders.push(path);
      else if (entry.name === ".gitignore") ignoreFiles.push(path.slice(root.length + 1));
      else if (!entry.isFile() && !entry.isSymbolicLink()) {
        throw refused(path.slice(root.length + 1), "it is no file, folder or link");
      }
    }
  }
  return ignoreFiles;
}

function refused(path: string, why: string): SovereignError {
  const text = `The change of ${JSON.stringify(path.slice(0, 200))} is refused: ${why}.`;
  return new SovereignError("ERR_CHANGE_REFUSED", text, { path: path.slice(0, 200) });
}

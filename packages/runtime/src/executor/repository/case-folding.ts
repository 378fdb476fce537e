import { lstatSync } from "node:fs";
import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import type { Git, UserRepository } from "../git/index.ts";

/** True where the file system takes `HEAD` and `head` for one name. */
function foldsLetters({ gitDir }: UserRepository): boolean {
  const [one, other] = ["HEAD", "head"].map((name) =>
    lstatSync(join(gitDir, name), { bigint: true, throwIfNoEntry: false }),
  );
  return one !== undefined && one.dev === other?.dev && one.ino === other.ino;
}

/** Two paths that differ in the case of letters alone, one of them among those that are written. */
function findClash(
  paths: readonly string[],
  written: ReadonlySet<string>,
): readonly [string, string] | null {
  const seen = new Map<string, string>();
  for (const path of paths) {
    const folded = path.normalize("NFC").toLowerCase();
    const other = seen.get(folded);
    if (other !== undefined && (written.has(path) || written.has(other))) return [other, path];
    seen.set(folded, path);
  }
  return null;
}

/**
 * Where a file system folds letters, two files of a tree would be written into one.
 * @throws ERR_REPOSITORY_REFUSED
 */
export async function refuseFolded(
  git: Git,
  repository: UserRepository,
  tree: string,
  written: readonly string[],
  folds: boolean = foldsLetters(repository),
): Promise<void> {
  if (!folds) return;
  const said = await git.text(["ls-tree", "-r", "-z", "--name-only", "--full-tree", tree]);
  const clash = findClash(said.split("\0").filter(Boolean), new Set(written));
  if (clash === null) return;
  const [one, other] = clash.map((path) => JSON.stringify(path));
  throw new SovereignError(
    "ERR_REPOSITORY_REFUSED",
    `Cannot write ${one} and ${other} into ${repository.root}: its file system takes them for one name. Rename one of them in the request, or work on a file system that tells letters' case apart.`,
  );
}

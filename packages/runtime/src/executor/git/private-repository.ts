import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isSovereignError, quoted, SovereignError } from "@sovereign/core";
import { makeOwnFolder } from "../../system/index.ts";
import { beginAgain, Git } from "./git.ts";
import { copyPlainFile } from "./plain-files.ts";
import type { UserRepository } from "./user-repository.ts";

const SHALLOW_BYTES_MAX = 64 * 1024 * 1024;

/**
 * A bare repository of our own that borrows the user's objects. Its configuration is ours, so a
 * filter or a hook that the user's repository names does not exist here; nothing that is done in it
 * can leave a lock, a ref or a half-written object in the user's repository.
 *
 * @param lenders object folders of ours to borrow from as well
 */
export async function createPrivateRepository(
  folder: string,
  user: UserRepository,
  head: string,
  lenders: readonly string[] = [],
): Promise<Git> {
  if (/[\n"]/.test(user.objects)) {
    throw new SovereignError(
      "ERR_REPOSITORY_REFUSED",
      `Cannot work on ${quoted(user.root)}: its path has a quote or a line end.`,
    );
  }
  return beginAgain(
    () => makeRepository(folder, user, head, lenders),
    (error) => isSovereignError(error, "ERR_GIT_FAILED"),
  );
}

/** In a folder that is empty, whatever an earlier try left there. */
async function makeRepository(
  folder: string,
  user: UserRepository,
  head: string,
  lenders: readonly string[],
): Promise<Git> {
  rmSync(folder, { recursive: true, force: true });
  makeOwnFolder(folder);
  const git = new Git({ gitDir: folder, own: true });
  const format = `--object-format=${user.objectFormat}`;
  await git.bytes(["init", "--quiet", "--bare", "--template=", format, folder]);
  mkdirSync(join(folder, "objects", "info"), { recursive: true });
  writeFileSync(
    join(folder, "objects", "info", "alternates"),
    [user.objects, ...lenders, ""].join("\n"),
  );
  // Without it, history that a shallow clone does not have would be looked for.
  const shallow = join(user.commonDir, "shallow");
  if (existsSync(shallow)) copyPlainFile(shallow, join(folder, "shallow"), SHALLOW_BYTES_MAX);
  await git.bytes(["update-ref", "--no-deref", "HEAD", head]);
  return git;
}

/**
 * Write the tree of a commit into an empty folder, through an index of its own, in one pass: what
 * was just written is known to be clean, and need not be read again.
 */
export async function checkOut(git: Git, commit: string): Promise<void> {
  // An earlier index would speak of files that are gone; its lock is of a git that was killed.
  for (const name of ["index", "index.lock"]) rmSync(join(git.place.gitDir, name), { force: true });
  await git.bytes(["read-tree", "-m", "-u", commit]);
}

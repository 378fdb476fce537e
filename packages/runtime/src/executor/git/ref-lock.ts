import { lstatSync } from "node:fs";
import { beginAgain, Git } from "./git.ts";
import { failed, RefClaim, requireNotStopped } from "./ref-claim.ts";
import {
  type MoveNote,
  noteMove,
  packedFile,
  putValue,
  refFile,
  refValue,
  removeEmptyAbove,
  removeRefs,
  requireRefName,
} from "./ref-files.ts";
import type { UserRepository } from "./user-repository.ts";

/** Another git that holds the branch moves it or lets it go; who moved it is in the reflog. */
const BRANCH_MS = 10_000;
const PACKED_MS = 10_000;
const REF_MS = 100;

/** A branch by its full name, or a detached HEAD, and where it has to be. */
export interface RefAt {
  readonly ref: string | null;
  readonly commit: string;
}

/** Where the branch is moved, and what its reflog says of that. */
export interface RefMove extends MoveNote {
  readonly to: string;
}

/**
 * Do something while we hold the branch as git does, and move it if that says so. No git is started
 * that could be killed with a lock in its hand: what a kill of ours leaves is known for ours, see
 * {@link RefClaim}.
 *
 * @param owner names the work over our death: see `breakClaims`
 * @param move null only holds the branch
 * @param work false lets the branch go where it is
 * @returns what `work` said
 * @throws ERR_GIT_FAILED where the branch is not where it has to be; what `work` throws, with
 *   nothing moved
 */
export async function withRefLocked(
  repository: UserRepository,
  { ref, commit }: RefAt,
  owner: string,
  move: RefMove | null,
  work: () => boolean,
): Promise<boolean> {
  if (ref !== null) requireRefName(repository, ref);
  const locks = branchLocks(repository, ref).map((path) => ({ path, patienceMs: BRANCH_MS }));
  const claim = await RefClaim.take(repository, locks, owner);
  try {
    const found = await refValue(repository, ref);
    if (found !== commit) throw elsewhere(ref, commit, found);
    if (move !== null) await requireObject(repository, move.to);
    // From here to the end nothing else of this process runs.
    requireNotStopped();
    const moves = work();
    if (moves && move !== null) {
      noteMove(repository, ref, { from: commit, to: move.to }, move);
      putValue(repository, ref, move.to, claim.temporary);
    }
    return moves;
  } finally {
    claim.release();
  }
}

/** Git locks the branch, and HEAD for its reflog. */
export function branchLocks(repository: UserRepository, ref: string | null): string[] {
  const head = `${refFile(repository, null)}.lock`;
  return ref === null ? [head] : [`${refFile(repository, ref)}.lock`, head];
}

interface RefChange {
  readonly verb: string;
  readonly ref: string;
  /** What it shall hold, or must have held. */
  readonly commit: string;
}

/**
 * Change refs in the user's repository, all or none, in the words of `git update-ref --stdin`.
 *
 * @param git of that repository, for what only looks
 * @param lines commands, each with its line end: `update REF ID`, `create REF ID`, `delete REF [ID]`
 * @param refs the full names that the commands change
 * @param onHeld for tests: called while the locks are held
 * @throws ERR_GIT_FAILED
 */
export async function changeRefs(
  git: Git,
  repository: UserRepository,
  lines: string,
  refs: readonly string[],
  onHeld?: () => void,
): Promise<void> {
  const changes = lines.split("\n").flatMap((line): RefChange[] => {
    const [verb = "", ref = "", commit = ""] = line.split(" ");
    return ["update", "create", "delete"].includes(verb) ? [{ verb, ref, commit }] : [];
  });
  for (const ref of refs) requireRefName(repository, ref);
  const deletes = changes.filter(({ verb }) => verb === "delete").map(({ ref }) => ref);
  const locks = refs.map((ref) => ({
    path: `${refFile(repository, ref)}.lock`,
    patienceMs: REF_MS,
  }));
  if (deletes.length > 0) {
    locks.push({ path: `${packedFile(repository)}.lock`, patienceMs: PACKED_MS });
  }
  await beginAgain(async () => {
    const claim = await RefClaim.take(repository, locks, "");
    try {
      onHeld?.();
      for (const change of changes) await requireChange(git, repository, change);
      requireNotStopped();
      for (const { verb, ref, commit } of changes) {
        if (verb !== "delete") putValue(repository, ref, commit, claim.temporary);
      }
      if (deletes.length > 0) removeRefs(repository, deletes);
    } finally {
      claim.release();
    }
    for (const ref of deletes) removeEmptyAbove(repository, ref);
  });
}

/** @throws ERR_GIT_FAILED where git would refuse it */
async function requireChange(
  git: Git,
  repository: UserRepository,
  { verb, ref, commit }: RefChange,
): Promise<void> {
  const found = await refValue(repository, ref);
  if (verb === "delete") {
    if (commit !== "" && found !== commit) throw elsewhere(ref, commit, found);
    return;
  }
  if (found === null || (verb === "create" && found !== "")) throw elsewhere(ref, "nothing", found);
  await requireObject(repository, commit);
  if (found === "") await requireRoom(git, ref);
}

/** No ref may have the name of a folder that another one is in. */
async function requireRoom(git: Git, ref: string): Promise<void> {
  const names = ref.split("/");
  const above = names.slice(2).map((_, at) => names.slice(0, at + 2).join("/"));
  const said = await git.text(["for-each-ref", "--format=%(refname)", ref, ...above.slice(1)]);
  const other = said.split("\n").find((one) => one.startsWith(`${ref}/`) || above.includes(one));
  if (other !== undefined) throw failed(`${other} is there, so ${ref} cannot be made`);
}

async function requireObject({ gitDir }: UserRepository, id: string): Promise<void> {
  await new Git({ gitDir }).bytes(["cat-file", "-e", `${id}^{commit}`]);
}

function elsewhere(ref: string | null, expected: string, found: string | null): Error {
  const what = found === null ? "the name of another ref" : found || "nothing";
  return failed(`expected ${ref ?? "HEAD"} at ${expected}, found ${what}`);
}

/** A file that is made anew has another one, also under the same name and number. */
export function lockIdentity(path: string): string | null {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return null;
  const { dev, ino, size, mtimeNs, ctimeNs } = found;
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

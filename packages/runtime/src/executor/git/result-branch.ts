import { isSovereignError, quoted, SovereignError } from "@sovereign/core";
import { Git } from "./git.ts";
import { keepObjects } from "./kept-objects.ts";
import { changeRefs } from "./ref-lock.ts";
import type { UserRepository } from "./user-repository.ts";

/** A commit of ours that waits under a name in the user's repository. */
export interface ResultBranch {
  /** The full name: `refs/heads/…`. */
  readonly ref: string;
  readonly run: string;
  readonly base: string;
  readonly commit: string;
}

/**
 * Hand a commit over to the user's repository, and name it by a new branch. No work tree is touched.
 *
 * @param git ours, in which the commit is
 * @param folder ours, for the pack before it is handed over
 * @throws ERR_REPOSITORY_REFUSED where the name is taken by something else
 */
export async function nameResult(
  git: Git,
  repository: UserRepository,
  { ref, run, base, commit }: ResultBranch,
  folder: string,
): Promise<void> {
  await keepObjects(git, repository, run, { base, head: commit }, folder);
  const user = new Git({ gitDir: repository.gitDir });
  if ((await resultAt(repository, ref)) === commit) return;
  try {
    await changeRefs(user, repository, `option no-deref\ncreate ${ref} ${commit}\n`, [ref]);
  } catch (cause) {
    if (!isSovereignError(cause, "ERR_GIT_FAILED")) throw cause;
    // What failed may be the answer alone.
    if ((await resultAt(repository, ref)) === commit) return;
    throw taken(ref, cause);
  }
}

/** Where the branch is; null where it is not there. */
export async function resultAt(repository: UserRepository, ref: string): Promise<string | null> {
  return (await lookAt(repository, ref))?.commit ?? null;
}

/** Where the branch is, and the work tree that has it checked out; null where it is not there. */
async function lookAt(
  repository: UserRepository,
  ref: string,
): Promise<{ readonly commit: string; readonly tree: string } | null> {
  const user = new Git({ gitDir: repository.gitDir });
  const format = "--format=%(objectname)%00%(refname)%00%(worktreepath)";
  for (const line of (await user.text(["for-each-ref", format, ref])).split("\n")) {
    const [commit = "", name, tree = ""] = line.split("\0");
    if (name === ref) return { commit, tree };
  }
  return null;
}

/**
 * Let a name of ours go, if it still names our commit and nobody works on it: what the user committed on
 * top of a result has no other name.
 *
 * @param commit the result's, as it is recorded
 * @returns why the branch stays; null where it is gone
 */
export async function forgetResult(
  repository: UserRepository,
  ref: string,
  commit: string,
): Promise<string | null> {
  const found = await lookAt(repository, ref);
  if (found === null) return null;
  if (found.commit !== commit) return `it is at ${found.commit.slice(0, 12)}, which is not ours`;
  if (found.tree !== "") return `it is checked out in ${found.tree}`;
  const user = new Git({ gitDir: repository.gitDir });
  try {
    await changeRefs(user, repository, `option no-deref\ndelete ${ref} ${commit}\n`, [ref]);
  } catch (cause) {
    if (!isSovereignError(cause, "ERR_GIT_FAILED")) throw cause;
    // Somebody moved it at this moment, or the answer alone failed.
    const now = await resultAt(repository, ref);
    if (now === commit) throw cause;
    return now === null ? null : `it is at ${now.slice(0, 12)}, which is not ours`;
  }
  return null;
}

/** @throws ERR_REPOSITORY_REFUSED for a name that no new branch may have */
export async function requireFreeBranch(repository: UserRepository, ref: string): Promise<void> {
  const user = new Git({ gitDir: repository.gitDir });
  const isName = (await user.status(["check-ref-format", ref], { answers: [1] })) === 0;
  if (!isName || (await resultAt(repository, ref)) !== null) throw taken(ref);
}

function taken(ref: string, cause?: SovereignError): SovereignError {
  const name = ref.slice("refs/heads/".length);
  const text = `Expected a name for a new branch, found ${quoted(name)}, which git refuses or has. Name another: --branch NAME`;
  return new SovereignError("ERR_REPOSITORY_REFUSED", text, { branch: name }, cause);
}

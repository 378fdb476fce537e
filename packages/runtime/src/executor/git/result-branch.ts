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
  const user = new Git({ gitDir: repository.gitDir });
  const look = ["for-each-ref", "--format=%(objectname) %(refname)", ref];
  const lines = (await user.text(look)).split("\n");
  return lines.find((line) => line.endsWith(` ${ref}`))?.split(" ")[0] ?? null;
}

/** Let a name of ours go. */
export async function forgetResult(repository: UserRepository, ref: string): Promise<void> {
  const commit = await resultAt(repository, ref);
  if (commit === null) return;
  const user = new Git({ gitDir: repository.gitDir });
  await changeRefs(user, repository, `option no-deref\ndelete ${ref} ${commit}\n`, [ref]);
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

import { lstatSync, rmSync } from "node:fs";
import { join } from "node:path";
import { identify, type ProcessIdentity } from "../../process/index.ts";
import { beginAgain, type Git, type GitCall, isKilledGit } from "./git.ts";
import type { UserRepository } from "./user-repository.ts";

/** A branch by its full name, or a detached HEAD, and where it has to be. */
export interface RefAt {
  readonly ref: string | null;
  readonly commit: string;
}

/** Another git that holds the branch moves it or lets it go; who moved it is in the reflog. */
const CONFIG = ["core.filesRefLockTimeout=10000", "core.logAllRefUpdates=true"].flatMap(
  (setting) => ["-c", setting],
);

/**
 * Do something while git holds the branch's lock, and move the branch if it says so. It is tied to
 * us by its input: where we are killed, git reads the end of it, moves nothing and removes its lock.
 *
 * @param to where the branch is moved; null only holds it
 * @param work told which git holds it; false lets the branch go where it is
 * @returns what `work` said
 * @throws ERR_GIT_FAILED where the branch is not where it has to be; what `work` throws, with
 *   nothing moved
 */
export async function withRefLocked(
  git: Git,
  { ref, commit }: RefAt,
  to: string | null,
  work: (holder: ProcessIdentity | null) => boolean,
  call: { readonly args?: readonly string[] } & Pick<GitCall, "at"> = {},
): Promise<boolean> {
  const name = ref ?? "HEAD";
  const what = to === null ? `verify ${name} ${commit}` : `update ${name} ${to} ${commit}`;
  const option = ref === null ? "option no-deref\n" : "";
  let holder: ProcessIdentity | null = null;
  let moves = false;
  let thrown: { readonly error: unknown } | null = null;
  const reply = (said: string): string | null => {
    if (!said.includes("prepare: ok")) return "";
    if (/commit: ok|abort: ok/.test(said)) return null;
    try {
      moves = work(holder);
      return moves ? "commit\n" : "abort\n";
    } catch (error) {
      thrown = { error };
      return null;
    }
  };
  const input = `start\n${option}${what}\nprepare\n`;
  const args = [...CONFIG, "update-ref", ...(call.args ?? []), "--stdin"];
  const onStarted = (pid: number): void => {
    holder = identify(pid);
  };
  const at = call.at === undefined ? {} : { at: call.at };
  const end = git.bytes(args, { input, reply, onStarted, ...at });
  await end.finally(() => {
    if (thrown !== null) throw thrown.error;
  });
  return moves;
}

/**
 * Change refs in the user's repository in one transaction. Git says when it holds its locks: from
 * then on they are known for its own. If it is killed, they are removed, and no others.
 *
 * @param lines commands of `git update-ref --stdin`, each with its line end
 * @param refs the full names that the commands change
 * @param onHeld for tests: called while git holds its locks
 * @throws ERR_GIT_FAILED
 */
export function changeRefs(
  git: Git,
  { commonDir }: UserRepository,
  lines: string,
  refs: readonly string[],
  onHeld?: () => void,
): Promise<void> {
  const packed = join(commonDir, "packed-refs.lock");
  const paths = [...refs.map((name) => join(commonDir, `${name}.lock`)), packed];
  const args = ["-c", "core.packedRefsTimeout=10000", "update-ref", "--stdin"];
  return beginAgain(async () => {
    const own = new Map<string, string | null>();
    const reply = (said: string): string | null => {
      if (said.includes("commit: ok")) return null;
      if (!said.includes("prepare: ok") || own.size > 0) return "";
      for (const path of paths) own.set(path, lockIdentity(path));
      onHeld?.();
      return "commit\n";
    };
    try {
      await git.bytes(args, { input: `start\n${lines}prepare\n`, reply });
    } catch (error) {
      for (const [path, identity] of isKilledGit(error) ? own : []) {
        if (identity === null || lockIdentity(path) !== identity) continue;
        // What comes into the place of packed refs is written beside, by whoever holds their lock.
        if (path === packed) rmSync(path.replace(/lock$/, "new"), { force: true });
        rmSync(path, { force: true });
      }
      throw error;
    }
  });
}

/** A file that is made anew has another one, also under the same name and number. */
export function lockIdentity(path: string): string | null {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return null;
  const { dev, ino, size, mtimeNs, ctimeNs } = found;
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}

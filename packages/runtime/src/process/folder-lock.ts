import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";

/**
 * A lock on a folder, which the kernel gives to one process at a time and takes back when that one
 * ends. It belongs to the folder itself (flock(2) on its inode): not to a name that somebody else
 * could take, not to a file in it that could be removed, and not to a namespace.
 */
export type FolderLock =
  /** Ours, for as long as this process lives. */
  | { readonly kind: "taken"; readonly descriptor: number }
  | { readonly kind: "held" }
  /** It cannot be told: then it is not ours. */
  | { readonly kind: "failed"; readonly why: string };

const HELD = 1;

/**
 * Take the lock of a folder. `flock`, of util-linux, takes it on the descriptor that it gets from us
 * and ends; with the descriptor, which no other child gets, the lock stays ours.
 *
 * @param searchPath where `flock` is looked for, as in `PATH`
 */
export function lockFolder(path: string, searchPath: string): FolderLock {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    return { kind: "failed", why: error instanceof Error ? error.message : "unknown" };
  }
  const end = spawnSync("flock", ["-x", "-n", "3"], {
    env: { PATH: `${searchPath}:/usr/bin:/bin` },
    stdio: ["ignore", "ignore", "pipe", descriptor],
    encoding: "utf8",
  });
  if (end.status === 0) return { kind: "taken", descriptor };
  closeSync(descriptor);
  if (end.status === HELD && end.stderr === "") return { kind: "held" };
  const missing = (end.error as NodeJS.ErrnoException | undefined)?.code === "ENOENT";
  const why = missing
    ? "the program flock is missing; install it (Debian: apt-get install util-linux)"
    : `flock: ${end.error?.message ?? (end.stderr.trim() || `it ended with ${String(end.status)}`)}`;
  return { kind: "failed", why };
}

import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { SovereignError } from "@sovereign/core";
import type { UserRepository } from "./git/index.ts";

/** Git's own lock of the user's index: while we hold it, their git waits or refuses. */
export interface IndexLock {
  readonly path: string;
  /** What stands in it: by this we know it for ours, also after a kill. */
  readonly mark: string;
}

/**
 * @param owner names the holder over its death: a folder of the run
 * @throws ERR_REPOSITORY_BUSY
 */
export function lockIndex({ index, root }: UserRepository, owner: string): IndexLock {
  const lock = lockOf(index, owner);
  const temporary = `${index}.sovereign-lock`;
  rmSync(temporary, { force: true });
  // A link appears with its content or not at all: a lock of ours is never without its mark.
  writeFileSync(temporary, lock.mark, { flag: "wx", mode: 0o644 });
  try {
    linkSync(temporary, lock.path);
    return lock;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    const text = `git is at work in ${root} (${lock.path} is there). Wait for it, or remove the file when no git runs.`;
    throw new SovereignError("ERR_REPOSITORY_BUSY", text, { root }, cause);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Only our own: the same name may be another's lock by now. */
export function unlockIndex({ path, mark }: IndexLock): void {
  let found: string;
  try {
    found = readFileSync(path, "utf8");
  } catch {
    return;
  }
  if (found === mark) rmSync(path, { force: true });
}

/** Remove what a killed holder left: its lock, and files that it had not put into their place. */
export function breakIndexLock({ index }: UserRepository, owner: string): void {
  unlockIndex(lockOf(index, owner));
  rmSync(`${index}.sovereign-lock`, { force: true });
  rmSync(`${index}.sovereign`, { force: true });
}

function lockOf(index: string, owner: string): IndexLock {
  return { path: `${index}.lock`, mark: `sovereign ${owner}\n` };
}

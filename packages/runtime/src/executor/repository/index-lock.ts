import { linkSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { SovereignError } from "@sovereign/core";
import { readPlainText, type UserRepository } from "../git/index.ts";

const POLL_MS = 50;
const PATIENCE_MS = 5000;

/** Git's own lock of the user's index: while we hold it, their git waits or refuses. */
export interface IndexLock {
  readonly path: string;
  /** What stands in it: by this we know it for ours, also after a kill. */
  readonly mark: string;
}

/**
 * The user's own git, or their editor's, holds it for a moment now and then: that is waited for.
 *
 * @param owner names the holder over its death: a folder of the run
 * @throws ERR_REPOSITORY_BUSY where it is held for longer
 */
export async function lockIndex(repository: UserRepository, owner: string): Promise<IndexLock> {
  const { index, root } = repository;
  const lock = lockOf(index, owner);
  for (let waited = 0; !tryLock(index, lock); waited += POLL_MS) {
    if (waited >= PATIENCE_MS) {
      const why = whyHeld(lock.path);
      const text = `git is at work in ${root} (${lock.path} is there). ${why}; then go on with the run.`;
      throw new SovereignError("ERR_REPOSITORY_BUSY", text, { root, lock: lock.path });
    }
    await sleep(POLL_MS);
  }
  return lock;
}

/** A lock of ours says that a run may have changed files here which are not put back: it stays until they are. */
function whyHeld(path: string): string {
  const mark = /^sovereign \S.*\/(run_[a-z2-7]{20})\/(?:work|rollback)\/switch\n$/;
  const run = mark.exec(readPlainText(path) ?? "")?.[1];
  if (run === undefined) return "Wait for it, or remove the file when no git runs";
  return `Run ${run} left it, which may have changed files here. To end what it left, type: sovereign exec status ${run}. Remove the file only where that run is gone with its data folder`;
}

function tryLock(index: string, lock: IndexLock): boolean {
  const temporary = `${index}.sovereign-lock`;
  rmSync(temporary, { force: true });
  // A link appears with its content or not at all: a lock of ours is never without its mark.
  writeFileSync(temporary, lock.mark, { flag: "wx", mode: 0o644 });
  try {
    linkSync(temporary, lock.path);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    return false;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Only our own: the same name may be another's lock by now. */
export function unlockIndex({ path, mark }: IndexLock): void {
  if (readPlainText(path) === mark) rmSync(path, { force: true });
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

import { chmodSync, lstatSync, readdirSync, rmSync } from "node:fs";
import { chmod, readdir, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";

/** So many names are asked to go at once: what a disk does for each takes its time, not ours. */
const AT_ONCE = 64;
const NAMES = 4096;

/**
 * Remove a tree whose folders a command may have closed to us, when nothing of the command lives.
 * Links are not followed. Many names at a time: a disk that gives back each file's blocks before it
 * answers (the mount option `discard`) would otherwise take minutes for a large repository.
 */
export async function removeHostile(root: string): Promise<void> {
  if (lstatSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) return;
  try {
    await removeFolders(root);
  } catch {
    // A path that is too long for one call, or a folder's mode that our user cannot change so.
    openUp(root);
    rmSync(root, { recursive: true, force: true });
  }
}

/** Level by level: files on the way in, folders on the way out. */
async function removeFolders(root: string): Promise<void> {
  const levels: string[][] = [];
  for (let level = [root]; level.length > 0; ) {
    levels.push(level);
    const next: string[] = [];
    let files: string[] = [];
    for (const folder of level) {
      await chmod(folder, 0o700);
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        (entry.isDirectory() ? next : files).push(join(folder, entry.name));
      }
      if (files.length < NAMES) continue;
      await inLanes(files, unlink);
      files = [];
    }
    await inLanes(files, unlink);
    level = next;
  }
  for (const level of levels.reverse()) await inLanes(level, rmdir);
}

/** Ends when all of them ended, so that nothing goes on behind a failure. */
async function inLanes(
  paths: readonly string[],
  remove: (path: string) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let path = paths[next++]; path !== undefined; path = paths[next++]) await remove(path);
  };
  const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, lane));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

function openUp(folder: string): void {
  try {
    chmodSync(folder, 0o700);
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) openUp(join(folder, entry.name));
    }
  } catch {
    // Too deep to be named: the removal, which needs no names, says what is wrong.
  }
}

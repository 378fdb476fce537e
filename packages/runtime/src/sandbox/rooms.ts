import { lstatSync, mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SovereignError } from "@sovereign/core";
import { type PathLimits, SHM_BYTES, SHM_FILES, TMP_BYTES } from "./holdings.ts";

/**
 * A path's places to write to lie in memory. bubblewrap can limit the bytes of a tmpfs and not its
 * files, so the launch mounts them itself, in a mount namespace of the path, over an empty folder of
 * ours: on the machine it stays empty.
 */

/** Target inside → folder of the mounted rooms. */
export const ROOMS = { "/tmp": "tmp", "/home/agent": "home", "/dev/shm": "shm" } as const;

/** Of the script below: the folder and the options of both mounts. */
export function roomWords(folder: string, { temporaryFiles }: PathLimits): string[] {
  // The root of the tmpfs and the three folders in it count, too.
  return [
    folder,
    `nosuid,nodev,mode=0755,size=${TMP_BYTES},nr_inodes=${temporaryFiles + 4}`,
    `nosuid,nodev,mode=1777,size=${SHM_BYTES},nr_inodes=${SHM_FILES + 1}`,
  ];
}

/** For a shell that stands in a mount namespace of its own, and whose failures end it. */
export const ROOM_SCRIPT = `mount -t tmpfs -o "$2" room "$1"
mkdir -m 1777 "$1/tmp" "$1/home" "$1/shm"
mount -t tmpfs -o "$3" shm "$1/shm"`;

/** A folder to mount the rooms over, where nobody names one: for one path, which removes it. */
export function newMountPoint(): string {
  return mkdtempSync(join(tmpdir(), "sovereign-rooms-"));
}

/**
 * A folder for mounts at a place that is ours already.
 *
 * @throws ERR_SANDBOX_UNAVAILABLE when something else stands there
 */
export function mountPointAt(folder: string): string {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  const found = lstatSync(folder);
  const ours = found.uid === process.getuid?.() && (found.mode & 0o022) === 0;
  if (found.isDirectory() && ours) return folder;
  throw new SovereignError(
    "ERR_SANDBOX_UNAVAILABLE",
    `Expected ${folder} to be a folder that we alone may write to. Remove it: what paths write is mounted there.`,
  );
}

import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { systemClock } from "../system/index.ts";

/** The same for every process, whatever its own folder for temporary files is. */
const PARENT = "/tmp";
const NAME = /^sovereign-([0-9a-f]{16})$/;
/** In each: the path of whose it is. */
const OWNER = "folder";
const SOCKET = ".s.PGSQL.5432";
/** What lies in one; nothing else is ever removed. */
const CONTENT = [SOCKET, `${SOCKET}.lock`, OWNER];
/** One without a name in it, of an earlier version, may be about to be used. */
const NAMELESS_MS = 86_400_000;

/**
 * Where the socket of a data folder's server lies. A socket's path may have 107 bytes, so it is not in
 * the data folder. Where it is new, those of data folders that were deleted are removed.
 *
 * @param folder the data folder's `postgres/`
 * @param refuse makes the error of one that cannot be used
 * @throws what `refuse` makes
 */
export async function socketFolder(
  folder: string,
  refuse: (path: string, found: string, cause?: unknown) => Error,
  parent: string = PARENT,
): Promise<string> {
  const path = socketFolderOf(folder, parent);
  let made = true;
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    made = false;
    if ((error as NodeJS.ErrnoException).code !== "EEXIST")
      throw refuse(path, "cannot be made", error);
  }
  // The folder for temporary files is everybody's: what is there already must be ours alone.
  if (!isOurs(path)) {
    throw refuse(path, "belongs to somebody else or is open to others; remove it");
  }
  const owner = join(path, OWNER);
  if (!existsSync(owner)) writeFileSync(owner, folder, { mode: 0o600 });
  if (made) await removeDeserted(parent);
  return path;
}

/** Where it is, or would be made. */
export function socketFolderOf(folder: string, parent: string = PARENT): string {
  return join(parent, nameOf(folder));
}

/** Remove the socket folder of a data folder whose server has ended. What is not ours stays. */
export async function removeSocketFolder(folder: string): Promise<void> {
  const path = socketFolderOf(folder);
  try {
    if (existsSync(path) && isOurs(path) && !(await isServed(path))) removeContent(path);
  } catch {
    // There is something else in it: it stays, as the folder does.
  }
}

function removeContent(path: string): void {
  for (const one of CONTENT) rmSync(join(path, one), { force: true });
  rmdirSync(path);
}

/** It saves space alone: what cannot be looked at or removed stays. */
async function removeDeserted(parent: string): Promise<void> {
  for (const name of readdirSync(parent)) {
    const path = join(parent, name);
    try {
      if (NAME.test(name) && isOurs(path) && isDeserted(path, name) && !(await isServed(path))) {
        removeContent(path);
      }
    } catch {
      // Another process removes it as well, or there is something else in it.
    }
  }
}

function isOurs(path: string): boolean {
  const found = lstatSync(path);
  const owner = process.getuid?.() ?? found.uid;
  return found.isDirectory() && found.uid === owner && (found.mode & 0o077) === 0;
}

/** Whether the data folder that it belongs to is gone. */
function isDeserted(path: string, name: string): boolean {
  const owner = join(path, OWNER);
  if (!existsSync(owner)) {
    return (
      readdirSync(path).length === 0 &&
      systemClock.now().getTime() - lstatSync(path).mtimeMs > NAMELESS_MS
    );
  }
  const folder = readFileSync(owner, "utf8");
  return nameOf(folder) === name && !existsSync(folder);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(join(path, SOCKET));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== "ENOENT" && code !== "ECONNREFUSED");
    });
  });
}

function nameOf(folder: string): string {
  return `sovereign-${createHash("sha256").update(folder).digest("hex").slice(0, 16)}`;
}

import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  readSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";

/** What stands at a path of a work tree: its kind and the digest of its bytes, or of its target. */
export interface Content {
  readonly kind: "absent" | "file" | "executable" | "link" | "folder" | "other";
  readonly sha256: string | null;
}

export const ABSENT: Content = { kind: "absent", sha256: null };

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Opens a folder as a place alone, which needs no leave to read it. */
const O_PATH = 0o10000000;
const CHUNK_BYTES = 1024 * 1024;
/** What says that nothing can be at a path, because something on its way is no folder. */
const NO_WAY = ["ENOENT", "ENOTDIR", "ELOOP"];

/**
 * Do something with a path by its folder, which is opened name by name: no link is followed on the
 * way, what is put there meanwhile is not either, and no path is too long.
 *
 * @param make makes the folders that are missing
 * @returns null when something on the way is no folder
 */
export function atPath<T>(
  root: string,
  path: string,
  work: (at: string) => T,
  make = false,
): T | null {
  const names = path.split("/");
  const last = names.pop() ?? "";
  let fd = openSync(root, O_PATH | O_DIRECTORY);
  try {
    for (const name of names) {
      const next = openFolder(`/proc/self/fd/${fd}/${name}`, make);
      if (next === null) return null;
      closeSync(fd);
      fd = next;
    }
    return work(`/proc/self/fd/${fd}/${last}`);
  } finally {
    closeSync(fd);
  }
}

function openFolder(at: string, make: boolean): number | null {
  const open = (): number => openSync(at, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  try {
    return open();
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!NO_WAY.includes(code)) throw error;
    if (!make || code !== "ENOENT") return null;
  }
  try {
    mkdirSync(at);
    return open();
  } catch (error) {
    // Somebody was there first, with a folder or with something else.
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return openFolder(at, false);
    if (NO_WAY.includes((error as NodeJS.ErrnoException).code ?? "")) return null;
    throw error;
  }
}

/** Look at a path without following a link, neither at its end nor on its way. */
export function contentAt(root: string, path: string): Content {
  return atPath(root, path, contentOf) ?? ABSENT;
}

/** The same of a place that needs no looking for. */
export function contentOf(at: string): Content {
  const found = lstatSync(at, { throwIfNoEntry: false });
  if (found === undefined) return ABSENT;
  if (found.isDirectory()) return { kind: "folder", sha256: null };
  if (!found.isFile() && !found.isSymbolicLink()) return { kind: "other", sha256: null };
  try {
    return found.isFile() ? readFile(at) : readLink(at);
  } catch (error) {
    // It went, or became something else, between the two looks: the next one says what.
    if ([...NO_WAY, "EINVAL", "ENXIO"].includes((error as NodeJS.ErrnoException).code ?? ""))
      return contentOf(at);
    throw error;
  }
}

function readLink(at: string): Content {
  const target = readlinkSync(at, { encoding: "buffer" });
  return { kind: "link", sha256: createHash("sha256").update(target).digest("hex") };
}

function readFile(at: string): Content {
  const fd = openSync(at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const found = fstatSync(fd);
    if (!found.isFile()) return { kind: found.isDirectory() ? "folder" : "other", sha256: null };
    const sum = createHash("sha256");
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, found.size + 1));
    for (let left = 1; left > 0; ) {
      left = readSync(fd, chunk, 0, chunk.length, null);
      sum.update(chunk.subarray(0, left));
    }
    const kind = (found.mode & 0o100) === 0 ? "file" : "executable";
    return { kind, sha256: sum.digest("hex") };
  } finally {
    closeSync(fd);
  }
}

export function sameContent(one: Content, other: Content): boolean {
  return one.kind === other.kind && one.sha256 === other.sha256;
}

/** A folder in a copy, or where a file should be, stands for other paths below it. */
export function fileOnly(found: Content): Content {
  return found.kind === "folder" ? ABSENT : found;
}

/** Take a path away, and the folders that are empty without it. */
export function removeContent(root: string, path: string): void {
  unlinkSync(join(root, path));
  removeEmptyAbove(root, path);
}

/** Remove the folders above a path that are empty. */
export function removeEmptyAbove(root: string, path: string): void {
  const names = path.split("/").slice(0, -1);
  for (; names.length > 0; names.pop()) {
    try {
      atPath(root, names.join("/"), rmdirSync);
    } catch {
      // It holds something else.
      return;
    }
  }
}

/** Remove those of these folders that are empty, inner ones first. */
export function removeFolders(root: string, folders: readonly string[]): void {
  for (const path of [...folders].sort().reverse()) {
    if (contentAt(root, path).kind !== "folder") continue;
    try {
      atPath(root, path, rmdirSync);
    } catch {
      // It holds something that is the user's.
    }
  }
}

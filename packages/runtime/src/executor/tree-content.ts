import { createHash, randomBytes } from "node:crypto";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

/** What stands at a path of a work tree: its kind and the digest of its bytes, or of its target. */
export interface Content {
  readonly kind: "absent" | "file" | "executable" | "link" | "folder" | "other";
  readonly sha256: string | null;
}

export const ABSENT: Content = { kind: "absent", sha256: null };

/** Look at a path without following a link, neither at its end nor on its way. */
export function contentAt(root: string, path: string): Content {
  if (!parentsAreFolders(root, path)) return ABSENT;
  const full = join(root, path);
  const found = lstatSync(full, { throwIfNoEntry: false });
  if (found === undefined) return ABSENT;
  if (found.isSymbolicLink()) {
    return { kind: "link", sha256: hash(readlinkSync(full, { encoding: "buffer" })) };
  }
  if (found.isDirectory()) return { kind: "folder", sha256: null };
  if (!found.isFile()) return { kind: "other", sha256: null };
  const kind = (found.mode & 0o100) === 0 ? "file" : "executable";
  return { kind, sha256: hash(readFileSync(full)) };
}

export function sameContent(one: Content, other: Content): boolean {
  return one.kind === other.kind && one.sha256 === other.sha256;
}

/** False when something on the way is no folder: then nothing can be at the path. */
function parentsAreFolders(root: string, path: string): boolean {
  const names = path.split("/").slice(0, -1);
  return names.every((_, at) => {
    const found = lstatSync(join(root, ...names.slice(0, at + 1)), { throwIfNoEntry: false });
    return found?.isDirectory() === true;
  });
}

/**
 * Put a content into its place in one step: a reader finds the old or the new, never a part. What
 * was made on the way and not renamed begins with `prefix`, so that it is found after a crash.
 * The file's mode is the user's umask, but for whether it may be run.
 */
export function replaceContent(source: string, root: string, path: string, prefix: string): void {
  const to = join(root, path);
  mkdirSync(dirname(to), { recursive: true });
  const temporary = join(dirname(to), `${prefix}${randomBytes(6).toString("hex")}`);
  const found = lstatSync(source);
  if (found.isSymbolicLink()) {
    symlinkSync(readlinkSync(source, { encoding: "buffer" }), temporary);
  } else {
    const mode = (found.mode & 0o100) === 0 ? 0o666 : 0o777;
    writeFileSync(temporary, readFileSync(source), { flag: "wx", mode });
  }
  renameSync(temporary, to);
}

/** Take a path away, and the folders that are empty without it. */
export function removeContent(root: string, path: string): void {
  unlinkSync(join(root, path));
  for (let at = dirname(path); at !== "."; at = dirname(at)) {
    try {
      rmdirSync(join(root, at));
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
      rmdirSync(join(root, path));
    } catch {
      // It holds something that is the user's.
    }
  }
}

/** Remove what a killed replacement left beside the paths. */
export function removeLeftovers(root: string, paths: readonly string[], prefix: string): void {
  for (const folder of new Set(paths.map((path) => dirname(join(root, path))))) {
    let names: string[];
    try {
      names = readdirSync(folder);
    } catch {
      continue;
    }
    for (const name of names.filter((one) => one.startsWith(prefix)))
      unlinkSync(join(folder, name));
  }
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

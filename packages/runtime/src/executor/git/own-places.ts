import { type Dirent, lstatSync, readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";

/** Where git and we write by name; of folders, git makes files in them. */
const WRITTEN = ["logs", "packed-refs", "refs", "refs/heads", "refs/sovereign", "sovereign-kept"];

/**
 * A name in a repository's own folder by which something else of the user's would be written; null
 * where there is none. Git follows links there: what `logs/HEAD` leads to gets a line appended with
 * each move of a branch, be it a shell's start-up file. The folder's content may be another's, out
 * of an archive.
 *
 * A link to the same place of another repository is right: a work tree may be made of such links.
 */
export function misledName(folders: readonly string[]): string | null {
  for (const folder of new Set(folders)) {
    const found = WRITTEN.find((name) => isMisled(folder, name)) ?? misledLog(folder, "logs");
    if (found !== null) return join(folder, found);
  }
  return null;
}

/** Whether what git calls so is a link that leads elsewhere, or neither file nor folder. */
export function isMisled(folder: string, name: string): boolean {
  const found = lstatSync(join(folder, name), { throwIfNoEntry: false });
  if (found === undefined) return false;
  return found.isSymbolicLink() ? leadsAway(folder, name) : !found.isFile() && !found.isDirectory();
}

/** Below a folder of logs; what a link that is right leads to is not looked at. */
function misledLog(folder: string, name: string): string | null {
  for (const entry of entriesOf(join(folder, name))) {
    const below = `${name}/${entry.name}`;
    if (entry.isSymbolicLink() && leadsAway(folder, below)) return below;
    const isOdd = !entry.isFile() && !entry.isDirectory() && !entry.isSymbolicLink();
    if (isOdd) return below;
    const found = entry.isDirectory() ? misledLog(folder, below) : null;
    if (found !== null) return found;
  }
  return null;
}

function entriesOf(folder: string): Dirent[] {
  if (lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return [];
  return readdirSync(folder, { withFileTypes: true });
}

function leadsAway(folder: string, name: string): boolean {
  try {
    return !realpathSync(join(folder, name)).endsWith(`/${name}`);
  } catch {
    return true;
  }
}

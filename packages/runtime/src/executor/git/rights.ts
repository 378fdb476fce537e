import { accessSync, constants, existsSync } from "node:fs";
import { join } from "node:path";

const { R_OK, W_OK, X_OK } = constants;
/** What git itself reads of a repository, in its own folder, where it is there. */
const READ = ["HEAD", "config", "index", "packed-refs"];
const ENTERED = ["objects", "objects/pack", "refs", "refs/heads"];

/**
 * What of a repository may not be read, as git and we have to: git itself says that there is no
 * repository. Null where all may.
 *
 * @returns what to type
 */
export function unreadable(gitDir: string, commonDir: string = gitDir): string | null {
  const folders = [gitDir, commonDir, ...ENTERED.map((name) => join(commonDir, name))];
  const files = [gitDir, commonDir].flatMap((folder) => READ.map((name) => join(folder, name)));
  return barred(folders, R_OK | X_OK, "u+rx") ?? barred(files, R_OK, "u+r");
}

/** What of it may not be written to, as work in it has to. Null where all may. */
export function unwritable(gitDir: string, commonDir: string): string | null {
  const folders = [gitDir, commonDir, ...ENTERED.map((name) => join(commonDir, name))];
  return barred(folders, R_OK | W_OK | X_OK, "u+rwx");
}

/** A folder that may not be entered hides what it holds: as one without a repository. */
export function barredFolder(folder: string): string | null {
  return barred([folder], X_OK, "u+rx");
}

function barred(paths: readonly string[], rights: number, mode: string): string | null {
  for (const path of paths) {
    if (!existsSync(path)) continue;
    try {
      accessSync(path, rights);
    } catch {
      return `its rights keep us from "${path}". Type: chmod ${mode} "${path}"`;
    }
  }
  return null;
}

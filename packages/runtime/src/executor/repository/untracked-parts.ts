import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { foldName } from "@sovereign/core";

const PARTS: ReadonlySet<string> = new Set(["head", "objects", "refs", "commondir"]);

/**
 * What stands on disk, in the folders of these paths, of the names that a repository of git is made
 * of: tracked or not, file or folder.
 *
 * @param root the user's work tree
 * @param paths plain paths below it
 */
export function untrackedParts(root: string, paths: readonly string[]): string[] {
  const folders = new Set(paths.flatMap(foldersOf));
  return [...folders].flatMap((folder) => {
    if (!isFolder(root, folder)) return [];
    return readdirSync(join(root, folder))
      .filter((name) => PARTS.has(foldName(name)))
      .map((name) => (folder === "" ? name : `${folder}/${name}`));
  });
}

function foldersOf(path: string): string[] {
  const names = path.split("/").slice(0, -1);
  return ["", ...names.map((_, at) => names.slice(0, at + 1).join("/"))];
}

/** True for a folder that is reached without a link. */
function isFolder(root: string, folder: string): boolean {
  return ["", ...foldersOf(`${folder}/x`)].every(
    (at) => lstatSync(join(root, at), { throwIfNoEntry: false })?.isDirectory() === true,
  );
}

import { latin1 } from "./git-file.ts";
import { corrupt, tooMuch } from "./git-problem.ts";
import { ID_BYTES } from "./object-id.ts";
import type { ObjectStore } from "./object-store.ts";

const CHANGES_MAX = 200_000;
const FOLDER_DEPTH_MAX = 512;

interface TreeEntry {
  /** As git compares them: `100644`, `100755`, `120000`, `160000`, and `40000` for a folder. */
  readonly mode: string;
  readonly id: string;
}

/** One path that differs between two trees. Null where there is nothing. */
export interface TreeChange {
  readonly before: TreeEntry | null;
  readonly after: TreeEntry | null;
}

/**
 * What differs between two trees, by path. Equal folders are not read.
 *
 * @param before null for none: then all that is in the other one
 *
 * @returns paths in which each character is one byte
 * @throws ERR_GIT_OBJECT_MISSING, ERR_GIT_OBJECT_CORRUPT, ERR_GIT_OBJECT_LIMIT
 */
export function diffTrees(
  objects: ObjectStore,
  before: string | null,
  after: string,
): Map<string, TreeChange> {
  const changes = new Map<string, TreeChange>();
  const visit = (from: string | null, to: string | null, folder: string, depth: number): void => {
    if (depth > FOLDER_DEPTH_MAX) throw tooMuch("it has folders in folders without end");
    const pairs = pairsOf(readTreeOrNone(objects, from), readTreeOrNone(objects, to));
    for (const [name, { before: was, after: is }] of pairs) {
      const [old, now] = [folderId(was), folderId(is)];
      if (old !== now) visit(old, now, `${folder}${name}/`, depth + 1);
      const change = { before: fileOf(was), after: fileOf(is) };
      if (change.before !== null || change.after !== null) changes.set(`${folder}${name}`, change);
      if (changes.size > CHANGES_MAX) {
        throw tooMuch(`a commit changes more than ${CHANGES_MAX} files`);
      }
    }
  };
  if (before !== after) visit(before, after, "", 0);
  return changes;
}

/** The names whose entries differ. */
function pairsOf(old: Tree, now: Tree): Map<string, TreeChange> {
  const pairs = new Map<string, TreeChange>();
  for (const name of new Set([...old.keys(), ...now.keys()])) {
    const before = old.get(name) ?? null;
    const after = now.get(name) ?? null;
    const same = before?.id === after?.id && before?.mode === after?.mode;
    if (!same) pairs.set(name, { before, after });
  }
  return pairs;
}

/**
 * What stands in some folders of a tree. Folders that are not looked into are told with a `/`.
 *
 * @param wanted which folders to look into; the root, whose path is empty, always is
 * @returns mode by path, in which each character is one byte
 * @throws as {@link diffTrees}
 */
export function listFolders(
  objects: ObjectStore,
  tree: string,
  wanted: (folder: string) => boolean,
): Map<string, string> {
  const found = new Map<string, string>();
  const visit = (id: string, folder: string, depth: number): void => {
    if (depth > FOLDER_DEPTH_MAX) throw tooMuch("it has folders in folders without end");
    for (const [name, entry] of readTree(objects, id)) {
      const path = `${folder}${name}`;
      if (entry.mode !== FOLDER) found.set(path, entry.mode);
      else if (wanted(path)) visit(entry.id, `${path}/`, depth + 1);
      else found.set(`${path}/`, entry.mode);
    }
  };
  visit(tree, "", 0);
  return found;
}

type Tree = ReadonlyMap<string, TreeEntry>;

function readTreeOrNone(objects: ObjectStore, id: string | null): Tree {
  return id === null ? NONE : readTree(objects, id);
}

const NONE: Tree = new Map();
export const FOLDER = "40000";

function folderId(entry: TreeEntry | null): string | null {
  return entry?.mode === FOLDER ? entry.id : null;
}

function fileOf(entry: TreeEntry | null): TreeEntry | null {
  return entry?.mode === FOLDER ? null : entry;
}

/** The entries of one folder, by name. @throws as {@link diffTrees} */
export function readTree(objects: ObjectStore, id: string): Map<string, TreeEntry> {
  const bytes = objects.read(id, "tree");
  const idBytes = ID_BYTES[objects.format];
  const entries = new Map<string, TreeEntry>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const end = bytes.indexOf(0, space);
    if (space < 0 || end < 0 || end + idBytes >= bytes.length) {
      throw corrupt(`the tree ${id} ends inside an entry`);
    }
    const name = latin1(bytes.subarray(space + 1, end));
    if (name === "" || name.includes("/") || entries.has(name)) {
      throw corrupt(`the tree ${id} has a name twice, or one that is none`);
    }
    const mode = canonicalMode(latin1(bytes.subarray(at, space)));
    at = end + 1 + idBytes;
    entries.set(name, { mode, id: Buffer.from(bytes.subarray(end + 1, at)).toString("hex") });
  }
  return entries;
}

/** Old trees hold other permissions; git treats them as one of two. */
function canonicalMode(mode: string): string {
  if (!/^0?100\d{3}$/.test(mode)) return mode.replace(/^0/, "");
  return (Number.parseInt(mode, 8) & 0o100) === 0 ? "100644" : "100755";
}

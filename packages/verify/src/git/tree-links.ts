import { latin1 } from "./git-file.ts";
import { FOLDER, readTree } from "./git-tree.ts";
import { tooMuch } from "./git-problem.ts";
import type { ObjectStore } from "./object-store.ts";

const LINK = "120000";
const LINKS_MAX = 200_000;
const FOLDER_DEPTH_MAX = 512;
/** The kernel follows no longer one. */
const TARGET_BYTES_MAX = 4096;

/** Of one folder: its links, and its folders that have links somewhere below. Ids by name. */
interface Folder {
  readonly links: readonly (readonly [string, string])[];
  readonly folders: readonly (readonly [string, string])[];
}

/**
 * Lists the symbolic links of trees. Each folder and each target is read once, and folders without
 * links are not walked again: the trees of a run's steps share most of theirs.
 */
export class LinkReader {
  readonly #objects: ObjectStore;
  readonly #folders = new Map<string, Folder>();
  readonly #targets = new Map<string, string | null>();

  constructor(objects: ObjectStore) {
    this.#objects = objects;
  }

  /**
   * @returns targets by path, in both of which each character is one byte; null for a target that
   *   is longer than any that can be followed
   * @throws ERR_GIT_OBJECT_MISSING, ERR_GIT_OBJECT_CORRUPT, ERR_GIT_OBJECT_LIMIT
   */
  linksOf(tree: string): Map<string, string | null> {
    const found = new Map<string, string | null>();
    const visit = (id: string, folder: string): void => {
      const { links, folders } = this.#folder(id, 0);
      for (const [name, target] of links) found.set(`${folder}${name}`, this.#target(target));
      if (found.size > LINKS_MAX) throw tooMuch(`it has more than ${LINKS_MAX} symbolic links`);
      for (const [name, below] of folders) visit(below, `${folder}${name}/`);
    };
    visit(tree, "");
    return found;
  }

  #folder(id: string, depth: number): Folder {
    const known = this.#folders.get(id);
    if (known !== undefined) return known;
    if (depth > FOLDER_DEPTH_MAX) throw tooMuch("it has folders in folders without end");
    const links: [string, string][] = [];
    const folders: [string, string][] = [];
    for (const [name, entry] of readTree(this.#objects, id)) {
      if (entry.mode === LINK) links.push([name, entry.id]);
      if (entry.mode !== FOLDER) continue;
      const below = this.#folder(entry.id, depth + 1);
      if (below.links.length + below.folders.length > 0) folders.push([name, entry.id]);
    }
    const folder = { links, folders };
    this.#folders.set(id, folder);
    return folder;
  }

  #target(id: string): string | null {
    const known = this.#targets.get(id);
    if (known !== undefined) return known;
    const bytes = this.#objects.read(id, "blob");
    const target = bytes.length > TARGET_BYTES_MAX ? null : latin1(bytes);
    this.#targets.set(id, target);
    return target;
  }
}

import { type Dialect, POLICY_DIALECT } from "../formats/index.ts";
import { foldName, foldNames } from "./folded-names.ts";
import { hostRunTool, isGitControl, repositoryTool } from "./steering-files.ts";

/** What a tree has at a path; folders follow from what is below them. */
export interface TreeEntry {
  readonly kind: "file" | "link" | "gitlink";
  /** Where a link leads, as written; null for everything else, and where it is not known. */
  readonly target: string | null;
}

/** A change that no step may make, whatever policy says. */
export interface RefusedChange {
  readonly path: string;
  readonly why: string;
}

/** What a changed tree would make tools on other machines do. */
export interface TreeJudgement {
  readonly refused: readonly RefusedChange[];
  /** The changed paths that such a tool runs or obeys: by their names, or by links to them. */
  readonly hostRun: readonly string[];
}

/**
 * What would a tool on the user's machine find in this tree, and run or obey, of what was changed?
 *
 * The tree is judged as it is after the change, so that it does not matter which step, or who, put
 * which part of a repository there. All of it is by name: contents may be other bytes on disk than
 * in git. Names are folded, for the tree can be checked out where names that differ here are one.
 *
 * @param tree every path of the tree after the change; untrusted
 * @param changed the paths that were added, changed or removed; untrusted
 * @param dialect whose table of host-run files counts
 */
export function judgeTree(
  tree: ReadonlyMap<string, TreeEntry>,
  changed: readonly string[],
  dialect: Dialect = POLICY_DIALECT,
): TreeJudgement {
  const links = linksOf(tree);
  const places = changed.map((path) => ({ path, all: placesOf(path, links) }));
  const folders = repositoriesIn(
    tree,
    places.flatMap((one) => one.all ?? []),
  );
  const gitlinks = [...tree].filter(([, { kind }]) => kind === "gitlink").map(([at]) => fold(at));
  const submodules = new Set(gitlinks);
  const refused: RefusedChange[] = [];
  const hostRun: string[] = [];
  for (const { path, all } of places) {
    const isLink = tree.get(path)?.kind === "link";
    const why =
      all === null
        ? "links lead to it by more ways than are looked at"
        : (all.map((place) => refusal(place, isLink, folders, submodules)).find(isText) ?? null);
    if (why !== null) refused.push({ path, why });
    else if (all?.some((place) => hostRunTool(place, isLink, dialect) !== null)) hostRun.push(path);
  }
  return { refused, hostRun };
}

function isText(text: string | null): text is string {
  return text !== null;
}

function refusal(
  place: string,
  isLink: boolean,
  repositories: ReadonlySet<string>,
  submodules: ReadonlySet<string>,
): string | null {
  if (isGitControl(place)) return "files that steer git are not a step's to change";
  const tool = repositoryTool(place, isLink);
  if (tool !== null) return `it is a repository's (${tool})`;
  const above = foldersOf(fold(place));
  if (above.some((folder) => repositories.has(folder))) {
    return "git would take its folder for a repository, and obey the configuration in it";
  }
  if ([...above, fold(place)].some((folder) => submodules.has(folder))) {
    return "it is a submodule's: this repository holds nothing of it but a commit's id";
  }
  return null;
}

/** A path as one key: its names folded. The root's is empty. */
function fold(path: string): string {
  return foldNames(path).join("/");
}

/** The folders that a path lies in, the root first. */
function foldersOf(path: string): string[] {
  const folders = [""];
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
    folders.push(path.slice(0, at));
  }
  return folders;
}

/**
 * The folders, of those that these places lie in, that git would discover as repositories. Git
 * wants a HEAD beside `objects` and `refs`, or beside a `commondir` that names a folder with them.
 * One of the three is enough here: the others may be there where the tree goes to, untracked, or
 * named by the environment. They may be anything that has a name; HEAD is read, so it is no folder.
 */
function repositoriesIn(
  tree: ReadonlyMap<string, TreeEntry>,
  places: readonly string[],
): ReadonlySet<string> {
  const names = new Map<string, Set<string>>();
  for (const folder of places.flatMap((place) => foldersOf(fold(place)))) {
    names.set(folder, new Set());
  }
  const keys = new Map<string, string>([["", ""]]);
  const keyOf = (folder: string): string => {
    const known = keys.get(folder);
    if (known !== undefined) return known;
    const at = folder.lastIndexOf("/");
    const parent = keyOf(at < 0 ? "" : folder.slice(0, at));
    const name = foldName(folder.slice(at + 1));
    names.get(parent)?.add(name);
    const key = parent === "" ? name : `${parent}/${name}`;
    keys.set(folder, key);
    return key;
  };
  for (const path of tree.keys()) {
    const at = path.lastIndexOf("/");
    const found = names.get(keyOf(at < 0 ? "" : path.slice(0, at)));
    found?.add(`file ${foldName(path.slice(at + 1))}`);
  }
  const discovered = [...names].filter(([, found]) => isRepository(found));
  return new Set(discovered.map(([folder]) => folder));
}

/** @param names of a folder's folders, and of its files with `file ` before them */
function isRepository(names: ReadonlySet<string>): boolean {
  const beside = ["objects", "refs", "commondir"];
  const has = (name: string): boolean => names.has(name) || names.has(`file ${name}`);
  return names.has("file head") && beside.some(has);
}

/** A link of the tree, both ends folded. */
interface Link {
  readonly from: string;
  readonly to: string;
}

function linksOf(tree: ReadonlyMap<string, TreeEntry>): Link[] {
  return [...tree].flatMap(([path, { kind, target }]) => {
    const to = kind === "link" && target !== null ? resolveLink(path, target) : null;
    return to === null ? [] : { from: path, to };
  });
}

/** Where a link leads in the tree, folded; null where it leaves it. By names alone. */
function resolveLink(path: string, target: string): string | null {
  if (target.startsWith("/")) return null;
  const names = path.split("/").slice(0, -1);
  for (const name of target.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") names.push(name);
    else if (names.pop() === undefined) return null;
  }
  return fold(names.join("/"));
}

const WAYS_MAX = 200;
const LINKS_ON_A_WAY_MAX = 4;

/**
 * Every name under which a path can be reached: its own, and those by way of links.
 * @returns null where there are too many to be looked at
 */
function placesOf(path: string, links: readonly Link[]): string[] | null {
  const places = new Set([path]);
  let last = [path];
  for (let depth = 0; depth < LINKS_ON_A_WAY_MAX && last.length > 0; depth++) {
    const next = last.map(fold).flatMap((key) => links.flatMap((link) => throughLink(key, link)));
    last = next.filter((place) => !places.has(place));
    for (const place of last) places.add(place);
    if (places.size > WAYS_MAX) return null;
  }
  return [...places];
}

function throughLink(key: string, { from, to }: Link): string[] {
  if (key === to) return [from];
  const rest = to === "" ? key : key.startsWith(`${to}/`) ? key.slice(to.length + 1) : null;
  return rest === null ? [] : [`${from}/${rest}`];
}

import { type Dialect, POLICY_DIALECT } from "../formats/index.ts";
import { quoted } from "../bytes/index.ts";
import { firstPlaces } from "./first-links.ts";
import { foldName } from "./folded-names.ts";
import { staysInside } from "./plain-names.ts";
import { hostRunTool, isGitControl, repositoryTool } from "./steering-files.ts";
import {
  fold,
  foldersOf,
  type LinkRules,
  type Places,
  type TreeEntry,
  TreeLinks,
  WAYS_MAX,
} from "./tree-links.ts";

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
  /**
   * The links that the judgement rests on, sorted: those that lead to what was changed, and those
   * that were changed. A tree of them and the changed paths alone is judged alike.
   */
  readonly links: readonly string[];
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
 * @param rules how links are followed
 * @param work what may still be looked at, for several trees together; what is beyond is refused
 */
export function judgeTree(
  tree: ReadonlyMap<string, TreeEntry>,
  changed: readonly string[],
  dialect: Dialect = POLICY_DIALECT,
  rules: LinkRules = "all",
  work: TreeWork = { left: TREE_WORK_MAX },
): TreeJudgement {
  work.left -= tree.size;
  const refuseAll = { refused: changed.map((path) => ({ path, why: TOO_MUCH })) };
  if (work.left < 0) return { ...refuseAll, hostRun: [], links: [] };
  const placesOf = counted(placesIn(tree, rules, work), work);
  const places = changed.map((path) => ({ path, ...placesOf(path) }));
  const folders = repositoriesIn(
    tree,
    places.flatMap((one) => one.all ?? []),
  );
  const submodules = submodulesIn(tree);
  const isLinkAt = (path: string): boolean => tree.get(path)?.kind === "link";
  const refused: RefusedChange[] = [];
  const hostRun: string[] = [];
  for (const { path, all } of places) {
    const isLink = isLinkAt(path);
    const ofPlaces = all?.map((place) => refusal(place, isLink, folders, submodules)) ?? [TOO_MANY];
    const why = [...ofPlaces, leaving(path, tree.get(path), dialect)].find(isText);
    if (why !== undefined) refused.push({ path, why });
    else if (all?.some((place) => hostRunTool(place, isLink, dialect) !== null)) hostRun.push(path);
  }
  const links = new Set(places.flatMap((one) => one.links));
  for (const path of changed.filter(isLinkAt)) links.add(path);
  return { refused, hostRun, links: [...links].sort() };
}

/**
 * The names under which paths of a tree can be reached.
 *
 * @param tree its links are enough; untrusted
 */
export function placesIn(
  tree: ReadonlyMap<string, TreeEntry>,
  rules: LinkRules,
  work: TreeWork = { left: TREE_WORK_MAX },
): (path: string) => Places {
  if (rules === "first") {
    const first = firstPlaces(tree, work);
    return (path) => ({ all: first(path), links: [] });
  }
  const links = new TreeLinks(tree);
  return (path) => links.placesOf(path);
}

/** How much may still be looked at, in entries of trees. */
export interface TreeWork {
  left: number;
}

/**
 * The trees after all steps of a run, and the ways by links to what they changed. Two hundred steps
 * that change five hundred files each come to less.
 */
export const TREE_WORK_MAX = 12_000_000;
/** A way by links costs about as much as so many entries of a tree. */
const WAY_COST = 50;
const NOT_LOOKED_AT: Places = { all: null, links: [] };
const TOO_MUCH = "the run has more trees and links than are looked at";

function counted(placesOf: (path: string) => Places, work: TreeWork): (path: string) => Places {
  return (path) => {
    if (work.left < 0) return NOT_LOOKED_AT;
    const found = placesOf(path);
    work.left -= WAY_COST * ((found.all?.length ?? WAYS_MAX) - 1);
    return found;
  };
}

/** Earlier dialects left the judgement of targets to whoever made the step. */
const TARGETS_SINCE: Dialect = 7;

function leaving(path: string, entry: TreeEntry | undefined, dialect: Dialect): string | null {
  if (entry?.kind !== "link" || dialect < TARGETS_SINCE) return null;
  if (entry.target !== null && staysInside(path, entry.target)) return null;
  const target = entry.target === null ? "a target that is too long" : quoted(entry.target);
  return `it is a link that leaves the work tree or leads where no path may: ${target}`;
}

const TOO_MANY = "links lead to it by more ways than are looked at";

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

/** Where the tree has another repository's commit, folded. */
function submodulesIn(tree: ReadonlyMap<string, TreeEntry>): ReadonlySet<string> {
  const found = new Set<string>();
  for (const [path, { kind }] of tree) if (kind === "gitlink") found.add(fold(path));
  return found;
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
    if (TELLING.has(name)) names.get(parent)?.add(name);
    const key = parent === "" ? name : `${parent}/${name}`;
    keys.set(folder, key);
    return key;
  };
  for (const path of tree.keys()) {
    const at = path.lastIndexOf("/");
    const found = names.get(keyOf(at < 0 ? "" : path.slice(0, at)));
    if (found === undefined) continue;
    const name = foldName(path.slice(at + 1));
    if (TELLING.has(name)) found.add(`file ${name}`);
  }
  const discovered = [...names].filter(([, found]) => isRepository(found));
  return new Set(discovered.map(([folder]) => folder));
}

const BESIDE = ["objects", "refs", "commondir"];
/** No other name makes a folder a repository. */
const TELLING: ReadonlySet<string> = new Set(["head", ...BESIDE]);

/** @param names of a folder's folders, and of its files with `file ` before them */
function isRepository(names: ReadonlySet<string>): boolean {
  const has = (name: string): boolean => names.has(name) || names.has(`file ${name}`);
  return names.has("file head") && BESIDE.some(has);
}

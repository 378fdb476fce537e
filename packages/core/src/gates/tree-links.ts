import { foldName, foldNames } from "./folded-names.ts";

/** What a tree has at a path; folders follow from what is below them. */
export interface TreeEntry {
  readonly kind: "file" | "link" | "gitlink";
  /** Where a link leads, as written; null for everything else, and where it is not known. */
  readonly target: string | null;
}

/** The names under which a path can be reached. */
export interface Places {
  /** Its own first, then those by way of links; null where there are too many to be looked at. */
  readonly all: readonly string[] | null;
  /** The path itself if it is a link, the links that lead there, and what they lead through. */
  readonly links: readonly string[];
}

/** How far links are followed: `first` as they were before evidence named them. */
export type LinkRules = "first" | "all";

/** As far as the kernel follows. */
const LINKS_ON_A_WAY_MAX = 40;
export const WAYS_MAX = 200;
/** Over all links of a tree: a hostile one can make each of them long. */
const STEPS_MAX = 2_000_000;

/** A link of the tree, both ends folded. */
interface Link {
  readonly path: string;
  /** Where it leads: after the links on its way, and by its names alone, as some tools read it. */
  readonly to: ReadonlySet<string>;
  /** What it leads through. */
  readonly through: ReadonlySet<string>;
  readonly links: readonly string[];
}

/** The links of one tree, resolved inside it. A link that leaves the tree leads nowhere in it. */
export class TreeLinks {
  readonly #targets = new Map<string, { readonly path: string; readonly target: string }>();
  readonly #links = new Map<string, Link>();
  readonly #to = new Map<string, Link[]>();
  readonly #through = new Map<string, Link[]>();
  #steps = 0;

  /** @param tree untrusted; entries that are no links are left aside */
  constructor(tree: ReadonlyMap<string, TreeEntry>) {
    const links: { path: string; target: string }[] = [];
    for (const [path, { kind, target }] of tree) {
      if (kind === "link" && target !== null) links.push({ path, target });
    }
    // INVARIANT: the order is by path, so that a tree of some of these links is judged alike. Of
    // two whose names fold to one, the first counts on the way of another.
    links.sort((a, b) => (a.path < b.path ? -1 : 1));
    for (const link of links) {
      const key = fold(link.path);
      if (!this.#targets.has(key)) this.#targets.set(key, link);
    }
    for (const { path, target } of links) {
      if (this.#steps > STEPS_MAX) return;
      const link = this.#follow(path, target);
      this.#links.set(path, link);
      for (const key of link.to) addTo(this.#to, key, link);
      for (const key of link.through) addTo(this.#through, key, link);
    }
  }

  /**
   * Each link serves once on a way: to go through it again gives a path no new name.
   *
   * @param path untrusted
   */
  placesOf(path: string): Places {
    if (this.#steps > STEPS_MAX) return { all: null, links: [] };
    const places = new Map<string, readonly Link[]>([[path, []]]);
    let last = [path];
    while (last.length > 0) {
      const next: string[] = [];
      for (const place of last) {
        const used = places.get(place) ?? [];
        if (used.length >= LINKS_ON_A_WAY_MAX) continue;
        for (const [link, other] of this.#onwards(fold(place))) {
          if (used.includes(link) || places.has(other)) continue;
          places.set(other, [...used, link]);
          next.push(other);
          if (places.size > WAYS_MAX) return { all: null, links: [] };
        }
      }
      last = next;
    }
    const used = [this.#links.get(path) ?? [], ...places.values()].flat();
    const links = new Set(used.flatMap((link) => [link.path, ...link.links]));
    return { all: [...places.keys()], links: [...links].sort() };
  }

  /** The links that lead to it, above it or, where it is a link, through it. */
  *#onwards(key: string): Generator<readonly [Link, string]> {
    for (const link of this.#to.get(key) ?? []) yield [link, link.path];
    for (const link of this.#through.get(key) ?? []) yield [link, link.path];
    for (const folder of foldersOf(key)) {
      const rest = folder === "" ? key : key.slice(folder.length + 1);
      for (const link of this.#to.get(folder) ?? []) yield [link, `${link.path}/${rest}`];
    }
  }

  #follow(path: string, target: string): Link {
    const through = new Set<string>();
    const links: string[] = [];
    const byNames = resolveByNames(path, target);
    const end = this.#walk(foldersOf(fold(path)), target, { through, links });
    const to = new Set([byNames, end].filter((key) => key !== null));
    for (const key of to) through.delete(key);
    return { path, to, through, links };
  }

  /**
   * @param keys the folders that the link stands in, the root first; changed
   * @returns where it leads; null where it leaves the tree, or has no end
   */
  #walk(
    keys: string[],
    target: string,
    seen: { readonly through: Set<string>; readonly links: string[] },
  ): string | null {
    const ahead = namesOf(target);
    if (ahead === null) return null;
    for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
      this.#steps++;
      if (name === "..") keys.pop();
      const folder = keys.at(-1);
      if (folder === undefined) return null;
      if (name === "..") continue;
      const key = folder === "" ? foldName(name) : `${folder}/${foldName(name)}`;
      seen.through.add(key);
      const next = this.#targets.get(key);
      if (next === undefined) {
        keys.push(key);
        continue;
      }
      seen.links.push(next.path);
      const names = namesOf(next.target);
      if (names === null || seen.links.length >= LINKS_ON_A_WAY_MAX) return null;
      for (const one of names) ahead.push(one);
    }
    return keys.at(-1) ?? null;
  }
}

/** The names of a link's target, the last first; null where it leaves every tree. */
function namesOf(target: string): string[] | null {
  if (target.startsWith("/")) return null;
  return target
    .split("/")
    .filter((name) => name !== "" && name !== ".")
    .reverse();
}

function addTo(map: Map<string, Link[]>, key: string, link: Link): void {
  const found = map.get(key);
  if (found === undefined) map.set(key, [link]);
  else found.push(link);
}

/** A path as one key: its names folded. The root's is empty. */
export function fold(path: string): string {
  return foldNames(path).join("/");
}

/** The folders that a path lies in, the root first. */
export function foldersOf(path: string): string[] {
  const folders = [""];
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
    folders.push(path.slice(0, at));
  }
  return folders;
}

/** Where a link leads in the tree, folded; null where it leaves it. By names alone. */
export function resolveByNames(path: string, target: string): string | null {
  if (target.startsWith("/")) return null;
  const names = path.split("/").slice(0, -1);
  for (const name of target.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") names.push(name);
    else if (names.pop() === undefined) return null;
  }
  return fold(names.join("/"));
}

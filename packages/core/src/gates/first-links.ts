/**
 * How links were followed before evidence named those that lead to a changed file: by names alone,
 * four on a way. That evidence is judged by it; nothing that runs now is. Never changed again.
 */
import { fold, resolveByNames, type TreeEntry } from "./tree-links.ts";

/** Both ends folded. */
interface Link {
  readonly from: string;
  readonly to: string;
}

const WAYS_MAX = 200;
const LINKS_ON_A_WAY_MAX = 4;

/**
 * @param work how often a path may still be held against a link; changed
 * @returns a path's own name and those by way of links; null where there are too many
 */
export function firstPlaces(
  tree: ReadonlyMap<string, TreeEntry>,
  work: { left: number },
): (path: string) => readonly string[] | null {
  const links: Link[] = [];
  for (const [path, { kind, target }] of tree) {
    const to = kind === "link" && target !== null ? resolveByNames(path, target) : null;
    if (to !== null) links.push({ from: path, to });
  }
  return (path) => placesOf(path, links, work);
}

function placesOf(path: string, links: readonly Link[], work: { left: number }): string[] | null {
  const places = new Set([path]);
  let last = [path];
  for (let depth = 0; depth < LINKS_ON_A_WAY_MAX && last.length > 0; depth++) {
    work.left -= last.length * links.length;
    if (work.left < 0) return null;
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

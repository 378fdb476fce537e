import {
  type Checksums,
  type Dialect,
  foldName,
  type JsonValue,
  judgeTree,
  type LinkRules,
  placesIn,
  type PlacedEntry,
  quoted,
  type EntryData,
  type TreeEntry,
} from "@sovereign/core";
import { type LinkReader, listFolders, type ObjectStore } from "./git/index.ts";
import { wrong } from "./step-recorder.ts";

const KINDS: Readonly<Record<string, TreeEntry["kind"]>> = {
  "120000": "link",
  "160000": "gitlink",
};

/** What a step's tree is judged by. */
export interface CustodyRules {
  /** By which policy decided. */
  readonly dialect: Dialect;
  /**
   * The links that the evidence says lead to what the step changed. Undefined in evidence that is
   * older than they are: links were followed less far then.
   */
  readonly links: Checksums["steps"][number]["links"] | undefined;
  /** How far links are followed, where that does not follow from the evidence. */
  readonly follow?: LinkRules;
}

/**
 * Judge a step's tree again, by what the repository holds of it: the step left no repository that a
 * tool would discover, its commit names each changed file that tools run, by its own name or by
 * those of links, and the evidence names these links.
 *
 * @param reader kept for the steps of a run, whose trees have most links in common
 * @param changed the paths that the step changed, each character one byte
 * @param params of the step's commit, as it was authorised
 * @throws ERR_VERIFY_INVALID
 */
export function verifyTree(
  { objects, reader }: { readonly objects: ObjectStore; readonly reader: LinkReader },
  tree: string,
  changed: readonly string[],
  params: JsonValue,
  { dialect, links, follow }: CustodyRules,
): void {
  const paths = changed.map(textOf);
  const rules: LinkRules = follow ?? (links === undefined ? "first" : "all");
  const found = linksOf(reader, tree);
  const names = namesOf(objects, tree, placesOf(found, paths, rules));
  for (const [path, entry] of found) names.set(path, entry);
  const judged = judgeTree(names, paths, dialect, rules);
  const [first] = judged.refused;
  if (first !== undefined) throw wrong(`The step changed ${quoted(first.path)}: ${first.why}.`);
  const named = ciFilesOf(params);
  const other = judged.hostRun.find((path) => !named.has(path));
  if (other !== undefined) {
    throw wrong(
      `The step changed ${quoted(other)}, which tools run, and its commit does not name it.`,
    );
  }
  if (links !== undefined) expectLinks(links, judged.links, found);
}

function linksOf(reader: LinkReader, tree: string): Map<string, TreeEntry> {
  const found = new Map<string, TreeEntry>();
  for (const [path, target] of reader.linksOf(tree)) {
    const to = target === null ? null : textOf(target);
    found.set(textOf(path), { kind: "link", target: to });
  }
  return found;
}

function placesOf(
  links: ReadonlyMap<string, TreeEntry>,
  paths: readonly string[],
  rules: LinkRules,
): string[] {
  const places = placesIn(links, rules);
  return paths.flatMap((path) => places(path).all ?? [path]);
}

/** What stands in the folders that these places lie in. */
function namesOf(
  objects: ObjectStore,
  tree: string,
  places: readonly string[],
): Map<string, TreeEntry> {
  const onTheWay = new Set(places.flatMap(foldersOf));
  const listed = listFolders(objects, tree, (folder) => onTheWay.has(fold(textOf(folder))));
  const names = new Map<string, TreeEntry>();
  for (const [path, mode] of listed) {
    // Of a folder that was not looked into, that it is there.
    const name = path.endsWith("/") ? `${path}x` : path;
    names.set(textOf(name), { kind: KINDS[mode] ?? "file", target: null });
  }
  return names;
}

/** A judgement without the repository rests on the links that the evidence names. */
function expectLinks(
  said: NonNullable<CustodyRules["links"]>,
  judged: readonly string[],
  tree: ReadonlyMap<string, TreeEntry>,
): void {
  const lines = (links: readonly { path: string; target: string }[]): Set<string> =>
    new Set(links.map(({ path, target }) => `${path}\0${target}`));
  const found = lines(judged.map((path) => ({ path, target: tree.get(path)?.target ?? "" })));
  const named = lines(said);
  const other = [...found, ...named].find((line) => !found.has(line) || !named.has(line));
  if (other === undefined) return;
  const [path = ""] = other.split("\0");
  throw wrong(
    named.has(other)
      ? `The checksums name the link ${quoted(path)}, which the tree does not have, or not so.`
      : `The link ${quoted(path)} leads to what the step changed, and the checksums do not name it.`,
  );
}

/**
 * By which dialect the run's policy decided; null for the first, which judged no trees. Earlier
 * evidence is judged as it was; to leave the field out of some decisions lifts nothing.
 */
export function dialectOf(entries: readonly PlacedEntry[]): Dialect | null {
  let latest: Dialect | null = null;
  for (const { entry } of entries) {
    if (entry.event_type !== "execution.authorized") continue;
    const { dialect } = (entry.data as EntryData<"execution.authorized">).decision;
    if (dialect !== undefined && dialect > (latest ?? 0)) latest = dialect;
  }
  return latest;
}

function ciFilesOf(params: JsonValue): ReadonlySet<JsonValue> {
  const isObject = typeof params === "object" && params !== null && !Array.isArray(params);
  const named = isObject ? params["ci_files"] : undefined;
  return new Set(Array.isArray(named) ? named : []);
}

function foldersOf(path: string): string[] {
  const names = path.split("/").slice(0, -1).map(foldName);
  return names.map((_, at) => names.slice(0, at + 1).join("/"));
}

function fold(path: string): string {
  return path.split("/").map(foldName).join("/");
}

function textOf(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}

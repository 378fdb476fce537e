import {
  type Dialect,
  foldName,
  type JsonValue,
  judgeTree,
  type PlacedEntry,
  quoted,
  type EntryData,
  type TreeEntry,
} from "@sovereign/core";
import { listFolders, type ObjectStore } from "./git/index.ts";
import { wrong } from "./step-recorder.ts";

const KINDS: Readonly<Record<string, TreeEntry["kind"]>> = {
  "120000": "link",
  "160000": "gitlink",
};

/**
 * Judge a step's tree again, by what the repository holds of it: the step left no repository that a
 * tool would discover, and its commit names each changed file that tools run. Links are followed
 * where the runtime judged, and not here: they lead through folders that no change names.
 *
 * @param changed the paths that the step changed, each character one byte
 * @param params of the step's commit, as it was authorised
 * @param dialect by which policy decided
 * @throws ERR_VERIFY_INVALID
 */
export function verifyTree(
  objects: ObjectStore,
  tree: string,
  changed: readonly string[],
  params: JsonValue,
  dialect: Dialect,
): void {
  const paths = changed.map(textOf);
  const onTheWay = new Set(paths.flatMap(foldersOf));
  const listed = listFolders(objects, tree, (folder) => onTheWay.has(fold(textOf(folder))));
  const names = new Map<string, TreeEntry>();
  for (const [path, mode] of listed) {
    // Of a folder that was not looked into, that it is there.
    const name = path.endsWith("/") ? `${path}x` : path;
    names.set(textOf(name), { kind: KINDS[mode] ?? "file", target: null });
  }
  const { refused, hostRun } = judgeTree(names, paths, dialect);
  const [first] = refused;
  if (first !== undefined) throw wrong(`The step changed ${quoted(first.path)}: ${first.why}.`);
  const named = ciFilesOf(params);
  const other = hostRun.find((path) => !named.has(path));
  if (other === undefined) return;
  throw wrong(
    `The step changed ${quoted(other)}, which tools run, and its commit does not name it.`,
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

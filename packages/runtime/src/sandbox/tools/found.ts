import {
  closeSync,
  constants,
  type Dirent,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { isWithin, type Machine, type WorkTree } from "./places.ts";

/** A mount that a preset asks for. */
export interface Wanted {
  /** Absolute; judged before it is used. */
  readonly path: string;
  readonly at: string;
  readonly version: string | null;
  /** What a project installed: in the user's work tree, and with any names. */
  readonly isDependency?: true;
  /** A folder of the system's configuration that a tool does not start without; of ours to name. */
  readonly isSystem?: true;
}

/** What a preset found. */
export interface Found {
  readonly mounts: readonly Wanted[];
  readonly path: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
  /** Something names the work tree by its path on the machine. */
  readonly needsTree?: true;
}

const TEXT_BYTES = 64 * 1024;
/** No name of a version or of a folder is as long. */
const LINE_LENGTH_MAX = 4096;
const FOLDERS_MAX = 20_000;
const DEPTH_MAX = 12;

/** The beginning of a small file, empty where it is none: hostile, and never waited for. */
export function textOf(path: string): string {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return "";
  }
  try {
    if (!fstatSync(file).isFile()) return "";
    const buffer = Buffer.alloc(TEXT_BYTES);
    return buffer.subarray(0, readSync(file, buffer)).toString("utf8");
  } catch {
    return "";
  } finally {
    closeSync(file);
  }
}

/** The first line of a file of the work tree that names a version; null for none that is plain. */
export function versionFile(tree: WorkTree | null, names: readonly string[]): string | null {
  for (const name of tree === null ? [] : names) {
    const line = (textOf(join(tree?.root ?? "/", name)).split("\n")[0] ?? "").trim();
    if (/^[A-Za-z0-9][A-Za-z0-9._+-]{0,80}$/.test(line)) return line;
  }
  return null;
}

/** `name = value` of a small file of settings, without quotes; null for none that is plain. */
export function settingOf(text: string, name: string): string | null {
  for (const line of text.split("\n")) {
    const equals = line.length > LINE_LENGTH_MAX ? -1 : line.indexOf("=");
    if (equals < 0 || line.slice(0, equals).trim() !== name) continue;
    const [said = ""] = line.slice(equals + 1).split("#");
    const value = withoutQuotes(said.trim());
    if (value !== "" && !value.includes('"')) return value;
  }
  return null;
}

function withoutQuotes(value: string): string {
  const from = value.startsWith('"') ? 1 : 0;
  return value.slice(from, value.length > from && value.endsWith('"') ? -1 : undefined);
}

/** The folder of that version, or the newest that begins with it. */
export function installed(folder: string, version: string | null): string | null {
  const names = namesIn(folder);
  if (version === null) return null;
  const wanted = [version, `v${version}`];
  const exact = names.find((name) => wanted.includes(name));
  const begins = names
    .filter((name) =>
      wanted.some((one) => [`${one}.`, `${one}-`].some((it) => name.startsWith(it))),
    )
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const found = exact ?? begins.at(-1);
  return found === undefined ? null : join(folder, found);
}

export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/** Where a program of the user's PATH really is; null for none, and for a shim that only asks. */
export function programOf({ environment, tree }: Machine, name: string): string | null {
  for (const folder of (environment["PATH"] ?? "").split(":")) {
    // A program that the work tree brings is no tool of the user's.
    if (!folder.startsWith("/") || (tree !== null && isWithin(folder, tree.root))) continue;
    const path = join(folder, name);
    if (!existsSync(path)) continue;
    const real = realOf(path);
    if (real === null || folder.endsWith("/shims")) continue;
    return real;
  }
  return null;
}

export function realOf(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

/** The folder that a program in `bin` is installed in; null where it is the system's own. */
export function prefixOf(program: string | null): string | null {
  if (program === null) return null;
  const bin = dirname(program);
  if (basename(bin) !== "bin") return null;
  const prefix = dirname(bin);
  return isWithin(prefix, "/usr") || prefix === "/" ? null : prefix;
}

/** A folder of the tree that commands see where it is, as nothing of git's. */
export function dependency(tree: WorkTree, path: string): Wanted {
  return {
    path: join(tree.root, path),
    at: `/workspace/${path}`,
    version: null,
    isDependency: true,
  };
}

/**
 * The folders of a name in the work tree that git has nothing of, at any depth; none inside another.
 */
export function dependencyFolders(tree: WorkTree, name: string): string[] {
  const found: string[] = [];
  const folders = [""];
  let looked = 0;
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    looked += 1;
    if (looked > FOLDERS_MAX || folder.split("/").length > DEPTH_MAX) continue;
    for (const entry of entriesIn(join(tree.root, folder))) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.name !== name) {
        if (isLookedInto(entry)) folders.push(path);
      } else if (!tree.isTracked(path) && (entry.isDirectory() || leadsTo(tree, path))) {
        found.push(path);
      }
    }
  }
  return found.sort();
}

function isLookedInto(entry: Dirent): boolean {
  const { name } = entry;
  return entry.isDirectory() && !name.startsWith(".") && name !== "node_modules";
}

/** A link to a folder that is in the tree too; another one is left where it is. */
function leadsTo(tree: WorkTree, path: string): boolean {
  const real = realOf(join(tree.root, path));
  return real !== null && isWithin(real, tree.root);
}

function entriesIn(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

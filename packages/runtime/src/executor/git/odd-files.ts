import { type Dirent, readdirSync, type Stats, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { unquoteGitName } from "@sovereign/core";
import { includedBy } from "./included-files.ts";
import { INDEX_BYTES_MAX, readPlainBytes, readPlainText, SMALL_BYTES } from "./plain-files.ts";

const MEBIBYTE = 1024 * 1024;
/** Git reads these whole; far more than a real one has, whoever wrote it. */
const BYTES_MAX: Readonly<Record<string, number>> = {
  index: INDEX_BYTES_MAX,
  "packed-refs": 256 * MEBIBYTE,
  shallow: 64 * MEBIBYTE,
  config: MEBIBYTE,
  "config.worktree": MEBIBYTE,
  info: 16 * MEBIBYTE,
  "objects/info": 64 * MEBIBYTE,
  HEAD: SMALL_BYTES,
  commondir: SMALL_BYTES,
  gitdir: SMALL_BYTES,
};
/** Repositories of their own, which nothing of ours enters, and what no git opens. */
const APART = /^(?:modules|sovereign[^/]*)$/;
/** Folders that may be a link to another repository's. */
const LINKED = /^(?:refs|refs\/heads|refs\/tags|info|logs|objects|objects\/info|objects\/pack)$/;
/** So that a link to everything keeps nobody waiting either; git's own bounds hold then. */
const ENTRIES_MAX = 1_000_000;
/** What git follows at most. */
const ALTERNATES_DEPTH_MAX = 5;
const INCLUDES_DEPTH_MAX = 10;
/** Of folders that are borrowed, or of files of settings: far more than there really are. */
const NAMES_MAX = 1000;
const NAMING_BYTES_MAX = 4 * MEBIBYTE;

/**
 * Why git, or we, would wait for ever or read without end in a repository: one line that names the
 * file. Whoever made the folder may have put a FIFO, a device, or a file of terabytes without
 * content, in the place of any name that is opened there, and in the configuration the name of one.
 *
 * @param gitDir not trusted, as everything below it
 * @returns null where there is none
 */
export function oddGitFile(gitDir: string): string | null {
  const common = join(gitDir, "commondir");
  const odd = oddFile(common, SMALL_BYTES);
  if (odd !== null) return odd;
  const named = readPlainText(common, SMALL_BYTES)?.trim() ?? "";
  const folders = new Set([gitDir, resolve(gitDir, named)]);
  const walk = new Walk();
  for (const folder of folders) {
    const found = walk.oddBelow(folder, "") ?? walk.oddAlternate(join(folder, "objects"));
    if (found !== null) return found;
  }
  return oddConfiguration([...folders]);
}

class Walk {
  #left = ENTRIES_MAX;
  readonly #borrowed = new Names();

  /** @param name what git calls the folder, from the repository's on */
  oddBelow(folder: string, name: string): string | null {
    for (const entry of entriesOf(folder)) {
      this.#left -= 1;
      const path = join(folder, entry.name);
      const below = name === "" ? entry.name : `${name}/${entry.name}`;
      if (APART.test(below) || this.#left < 0) continue;
      const isFolder = entry.isDirectory() || (entry.isSymbolicLink() && LINKED.test(below));
      const found =
        (isFolder ? this.oddBelow(path, below) : null) ??
        (entry.isDirectory() ? null : oddEntry(path, below, entry));
      if (found !== null) return found;
    }
    return null;
  }

  /** Folders of objects that are borrowed, and those from which these borrow: each once. */
  oddAlternate(objects: string, depth = 0): string | null {
    if (depth > ALTERNATES_DEPTH_MAX) return null;
    const list = join(objects, "info", "alternates");
    for (const line of this.#borrowed.textOf(list).split("\n")) {
      if (line === "" || line.startsWith("#")) continue;
      const name = Buffer.from(unquoteGitName(line), "latin1").toString("utf8");
      const other = resolve(objects, name);
      if (!this.#borrowed.isNew(other)) continue;
      const spent = this.#borrowed.spent;
      if (spent !== null) return `${list} leads to ${spent}`;
      const found = this.oddBelow(other, "objects") ?? this.oddAlternate(other, depth + 1);
      if (found !== null) return found;
    }
    return null;
  }
}

/** Each name once, and so many at most: what a file names may name others, and itself. */
class Names {
  readonly #seen = new Set<string>();
  #bytes = 0;

  isNew(name: string): boolean {
    if (this.#seen.has(name)) return false;
    this.#seen.add(name);
    return true;
  }

  /** Of a file that names others; each character is one byte. */
  textOf(path: string): string {
    const bytes = readPlainBytes(path, MEBIBYTE);
    this.#bytes += bytes?.length ?? 0;
    return bytes?.toString("latin1") ?? "";
  }

  /** Why no more are looked at. */
  get spent(): string | null {
    if (this.#seen.size > NAMES_MAX) return `more than ${NAMES_MAX} others`;
    return this.#bytes > NAMING_BYTES_MAX
      ? `others, with more than ${NAMING_BYTES_MAX} bytes`
      : null;
  }
}

function oddEntry(path: string, name: string, entry: Dirent): string | null {
  const bytesMax = bytesMaxOf(name);
  // To ask for the size of each object would cost more than to look at them.
  if (entry.isFile() && bytesMax === null) return null;
  return oddFile(path, bytesMax ?? Number.POSITIVE_INFINITY);
}

/** Null for what git does not read whole, and for what it does not know. */
function bytesMaxOf(name: string): number | null {
  const own = name.replace(/^worktrees\/[^/]+\//, "").replace(/\.lock$/, "");
  if (own.startsWith("refs/")) return SMALL_BYTES;
  return BYTES_MAX[own] ?? BYTES_MAX[dirname(own)] ?? null;
}

/** A link is judged by what it leads to. Nobody waits at a socket: to open one fails. */
function oddFile(path: string, bytesMax: number): string | null {
  let found: Stats | undefined;
  try {
    found = statSync(path, { throwIfNoEntry: false });
  } catch {
    return null;
  }
  if (found === undefined || found.isDirectory() || found.isSocket()) return null;
  if (found.isFIFO()) return `${path} is a FIFO`;
  if (!found.isFile()) return `${path} is a device`;
  if (found.size <= bytesMax) return null;
  return `${path} has ${found.size} bytes, more than ${bytesMax}`;
}

/** Each file of settings that git reads for these folders, and each that one of them includes. */
function oddConfiguration(folders: readonly string[]): string | null {
  const home = homedir();
  const own = [join(home, ".gitconfig"), join(home, ".config/git/config"), "/etc/gitconfig"];
  const names = folders.flatMap((one) => [join(one, "config"), join(one, "config.worktree")]);
  const looked = new Names();
  let level = [...names, ...own].map((path): Settings => ({ path, by: null }));
  // Breadth first: a file counts at the least depth at which git comes to it.
  for (let depth = 0; depth <= INCLUDES_DEPTH_MAX; depth++) {
    const next: Settings[] = [];
    for (const { path, by } of level) {
      if (!looked.isNew(path)) continue;
      const { spent } = looked;
      if (spent !== null) return `${by ?? path} leads to ${spent}`;
      const odd = oddFile(path, MEBIBYTE);
      if (odd !== null) return by === null ? odd : `${odd} (${by} includes it)`;
      for (const named of includedBy(looked.textOf(path))) {
        next.push({ path: targetOf(named, path, home), by: path });
      }
    }
    level = next;
  }
  return null;
}

/** A file of settings, and the one that includes it. */
interface Settings {
  readonly path: string;
  readonly by: string | null;
}

/** @param named each character is one byte */
function targetOf(named: string, by: string, home: string): string {
  const name = Buffer.from(named, "latin1")
    .toString("utf8")
    .replace(/^~(?=\/)/, home);
  return isAbsolute(name) ? resolve(name) : join(dirname(by), name);
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

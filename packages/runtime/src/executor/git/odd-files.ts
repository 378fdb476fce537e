import { type Dirent, readdirSync, type Stats, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { INDEX_BYTES_MAX, readPlainText, SMALL_BYTES } from "./plain-files.ts";

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
const DEPTH_MAX = 5;

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
    const found =
      walk.oddBelow(folder, "") ?? walk.oddAlternate(join(folder, "objects"), DEPTH_MAX);
    if (found !== null) return found;
  }
  return oddConfiguration([...folders]);
}

class Walk {
  #left = ENTRIES_MAX;

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

  /** Folders of objects that are borrowed, and those from which these borrow. */
  oddAlternate(objects: string, depth: number): string | null {
    const listed = readPlainText(join(objects, "info", "alternates"), MEBIBYTE) ?? "";
    for (const line of listed.split("\n")) {
      if (line === "" || line.startsWith("#")) continue;
      const other = resolve(objects, line);
      const found = this.oddBelow(other, "objects");
      if (found !== null) return found;
      const further = depth > 0 ? this.oddAlternate(other, depth - 1) : null;
      if (further !== null) return further;
    }
    return null;
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
  for (const path of [...names, ...own]) {
    const found = oddInclude(path, home, DEPTH_MAX);
    if (found !== null) return found;
  }
  return null;
}

function oddInclude(path: string, home: string, depth: number): string | null {
  const odd = oddFile(path, MEBIBYTE);
  if (odd !== null || depth === 0) return odd;
  const text = readPlainText(path, MEBIBYTE) ?? "";
  for (const named of includedBy(text)) {
    const open = named.replace(/^~(?=\/)/, home);
    const target = isAbsolute(open) ? open : join(dirname(path), open);
    const found = oddInclude(target, home, depth - 1);
    if (found !== null) return `${found} (${path} includes it)`;
  }
  return null;
}

/** Whatever the condition of an inclusion is. */
function includedBy(text: string): string[] {
  const found: string[] = [];
  let includes = false;
  for (const line of text.replaceAll(/\\\r?\n/g, "").split("\n")) {
    const header = /^\s*\[\s*([A-Za-z0-9.-]+)(?:\s+"(?:[^"\\]|\\.)*")?\s*\]/.exec(line);
    if (header !== null) includes = /^include(?:if)?$/i.test(header[1] ?? "");
    const rest = line.slice(header?.[0].length ?? 0);
    const [, named = ""] = (includes && /^\s*path\s*=\s*(.*)$/i.exec(rest)) || [];
    const plain = named
      .replace(/\s[#;].*$/, "")
      .trim()
      .replaceAll(/^"|"$/g, "");
    if (plain !== "" && !plain.includes("\0")) found.push(plain.replaceAll(/\\(.)/g, "$1"));
  }
  return found;
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

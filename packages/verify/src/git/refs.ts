import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";
import { readGitFile, latin1, readGitText } from "./git-file.ts";
import { tooMuch } from "./git-problem.ts";

const REF_BYTES_MAX = 4096;
const PACKED_BYTES_MAX = 64 * 1024 * 1024;
const REFLOG_BYTES_MAX = 64 * 1024 * 1024;
const REFS_MAX = 100_000;
const FOLDER_DEPTH_MAX = 32;
/** What git follows at most. */
const SYMBOLIC_DEPTH_MAX = 5;

/** A repository's names for commits: in files of their own, or together in `packed-refs`. */
export class Refs {
  readonly #gitDir: string;
  readonly #commonDir: string;
  #packed: ReadonlyMap<string, string> | null = null;

  constructor(gitDir: string, commonDir: string) {
    this.#gitDir = gitDir;
    this.#commonDir = commonDir;
  }

  /** The branch that HEAD is; null where it is detached or odd. */
  headBranch(): string | null {
    const name = symbolic(this.#textOf("HEAD") ?? "");
    return name !== null && isRefName(name) ? name : null;
  }

  /** @param name untrusted. @returns the id that it names in the end; null where it names none */
  resolve(name: string): string | null {
    let at = name;
    for (let depth = 0; depth <= SYMBOLIC_DEPTH_MAX; depth++) {
      if (!isRefName(at)) return null;
      const text = this.#textOf(at) ?? this.#packedRefs().get(at) ?? "";
      const next = symbolic(text);
      if (next === null) return /^([0-9a-f]{40,64})\s*$/.exec(text)?.[1] ?? null;
      at = next;
    }
    return null;
  }

  /** Branches first, then what was fetched, then all others. */
  names(): string[] {
    const found = new Set(this.#packedRefs().keys());
    const visit = (folder: string, depth: number): void => {
      for (const entry of entriesOf(join(this.#commonDir, folder))) {
        const name = `${folder}/${entry.name}`;
        if (entry.isDirectory() && depth < FOLDER_DEPTH_MAX) visit(name, depth + 1);
        else if (entry.isFile() && isRefName(name)) found.add(name);
        if (found.size > REFS_MAX) throw tooMuch(`it has more than ${REFS_MAX} refs`);
      }
    };
    visit("refs", 0);
    const rank = (name: string): number =>
      1 + ["refs/heads/", "refs/remotes/"].findIndex((one) => name.startsWith(one)) || 3;
    return [...found].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  }

  /** Where a ref has been, by what its log says. @param name untrusted */
  history(name: string): ReadonlySet<string> {
    const found = new Set<string>();
    if (!isRefName(name)) return found;
    const text = readGitText(join(this.#folderOf(name), "logs", name), REFLOG_BYTES_MAX) ?? "";
    for (const [, before = "", after = ""] of text.matchAll(REFLOG_LINE)) {
      found.add(before).add(after);
    }
    return found;
  }

  #textOf(name: string): string | null {
    const bytes = readGitFile(join(this.#folderOf(name), name), REF_BYTES_MAX);
    return bytes === null ? null : latin1(bytes);
  }

  /** A linked work tree has a HEAD of its own, and shares what is below `refs`. */
  #folderOf(name: string): string {
    return name === "HEAD" ? this.#gitDir : this.#commonDir;
  }

  #packedRefs(): ReadonlyMap<string, string> {
    if (this.#packed !== null) return this.#packed;
    const text = readGitText(join(this.#commonDir, "packed-refs"), PACKED_BYTES_MAX) ?? "";
    const rows = [...text.matchAll(/^([0-9a-f]{40,64}) (\S+)$/gm)].slice(0, REFS_MAX);
    const named = rows.filter(([, , name = ""]) => isRefName(name));
    this.#packed = new Map(named.map(([, id = "", name = ""]) => [name, id]));
    return this.#packed;
  }
}

/** The ref that stands in another's place; null where an id does. */
function symbolic(text: string): string | null {
  return text.startsWith("ref: ") ? text.slice("ref: ".length).trimEnd() : null;
}

const REFLOG_LINE = /^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) /gm;

/** Names that cannot lead out of the folder that they are looked up in. */
function isRefName(name: string): boolean {
  if (name === "HEAD") return true;
  return (
    name.length < 1000 &&
    /^refs(\/[^/.\0-\x20\x7f~^:?*[\\][^/\0-\x20\x7f~^:?*[\\]*)+$/.test(name) &&
    !name.includes("..") &&
    !name.endsWith(".lock")
  );
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { sha256Hex, SovereignError, utf8Encode } from "@sovereign/core";
import { openForWriting } from "../../process/index.ts";
import { FILE_BYTES_MAX, readPlainBytes } from "../git/index.ts";
import {
  ABSENT,
  atPath,
  type Content,
  contentAt,
  contentOf,
  fileOnly,
  removeEmptyAbove,
  removeFolders,
  sameContent,
} from "./tree-content.ts";

/** A path that a switch changes: what must be there, and what will be. */
export interface Move {
  readonly path: string;
  readonly before: Content;
  readonly after: Content;
}

/** Something of the user's that would be nowhere else, and where it is kept. */
export interface Kept {
  readonly path: string;
  readonly kept: string;
}

/**
 * What is put aside of a path: `was` stood there before, `undone` was taken back, `new` comes there.
 * Named by the path's number, so that it is found after a kill.
 */
type Aside = "was" | "undone" | "new";

const PREFIX = ".sovereign-switch-";

/**
 * The files of a switch, one by one. Whatever stands at a path is renamed away and then looked at,
 * and what comes is linked there, which fails where something is: so nothing that another program
 * writes at any moment is overwritten, removed or missed. A file that is put aside keeps its inode:
 * a program that writes into it, having opened it before, writes into what is looked at again at
 * the end.
 */
export class TreeMoves {
  readonly #root: string;
  readonly #moves: readonly Move[];
  readonly #copies: string;
  readonly #holder: string;
  readonly #keeper: string;

  /**
   * @param gitDir where things are put aside: nobody's tools look there
   * @param copies the folder with `before` and `after`
   */
  constructor(root: string, gitDir: string, copies: string, moves: readonly Move[]) {
    this.#root = root;
    this.#moves = moves;
    this.#copies = copies;
    // One for each run, also of another installation.
    this.#holder = join(gitDir, `sovereign-switch-${sha256Hex(utf8Encode(copies)).slice(0, 16)}`);
    this.#keeper = join(gitDir, "sovereign-kept");
  }

  /** True where something was put aside, or is about to be, and nothing has been settled since. */
  isBegun(): boolean {
    return isThere(this.#holder);
  }

  /** Removals first: a folder may have to come where a file was. */
  removeAll(): void {
    this.#each(
      ({ after }) => after.kind === "absent",
      (move, number) => {
        this.#requireBefore(move);
        this.#take(move, number, "was");
        this.#requireTaken(move, number);
        removeEmptyAbove(this.#root, move.path);
      },
    );
  }

  /** Make folders that are missing, outer ones first. */
  makeFolders(folders: readonly string[]): void {
    for (const path of folders) {
      if (atPath(this.#root, `${path}/.`, () => true, true) === null) throw edited(path);
    }
  }

  placeAll(): void {
    this.#each(
      ({ after }) => after.kind !== "absent",
      (move, number) => {
        this.#requireBefore(move);
        this.#prepare(move, number, "after");
        if (move.before.kind !== "absent") this.#take(move, number, "was");
        if (!this.#place(move, number, "new")) throw edited(move.path);
        this.#requireTaken(move, number);
      },
    );
  }

  /** Look once more at what was put aside, as long as all of it can be put back. */
  requireUntouched(): void {
    this.#each(
      () => true,
      (move, number) => {
        this.#requireTaken(move, number);
      },
    );
  }

  /**
   * Put back what was before, unless something is there that is neither: that is the user's.
   * @returns the paths where that is so
   */
  undo(folders: readonly string[]): string[] {
    const foreign: string[] = [];
    this.#each(
      ({ before }) => before.kind === "absent",
      (move, number) => {
        if (!this.#takeBack(move, number)) foreign.push(move.path);
      },
    );
    // Before what comes back: a file may have to be where a folder was made.
    removeFolders(this.#root, folders);
    this.#each(
      ({ before }) => before.kind !== "absent",
      (move, number) => {
        if (!this.#restore(move, number)) foreign.push(move.path);
      },
    );
    return foreign;
  }

  /**
   * Remove what was put aside, when nothing will be put back any more. What somebody wrote into it
   * meanwhile, or still may, is kept.
   */
  settle(): Kept[] {
    const kept: Kept[] = [];
    const open = openForWriting((name) =>
      /^[0-9]+\.(?:was|undone)$/.test(name.replace(PREFIX, "")),
    );
    this.#each(
      () => true,
      (move, number) => {
        for (const aside of ["was", "undone"] as const) {
          const expected = aside === "was" ? move.before : move.after;
          this.#with(move, number, aside, (at) => {
            const untouched = sameContent(contentOf(at), expected) && !open.has(inodeOf(at));
            if (untouched) unlinkSync(at);
            else kept.push({ path: move.path, kept: this.#keep(move, at) });
          });
        }
        this.#with(move, number, "new", unlinkSync);
      },
    );
    rmSync(this.#holder, { recursive: true, force: true });
    return kept;
  }

  #each(which: (move: Move) => boolean, work: (move: Move, number: number) => void): void {
    for (const [number, move] of this.#moves.entries()) if (which(move)) work(move, number);
  }

  #now(path: string): Content {
    return fileOnly(contentAt(this.#root, path));
  }

  #requireBefore({ path, before }: Move): void {
    if (!sameContent(this.#now(path), before)) throw edited(path);
  }

  #requireTaken(move: Move, number: number): void {
    if (move.before.kind === "absent") return;
    const found = this.#with(move, number, "was", contentOf) ?? ABSENT;
    if (!sameContent(found, move.before)) throw edited(move.path);
  }

  /** Rename away whatever is there. @throws ERR_REPOSITORY_DIRTY when nothing is */
  #take(move: Move, number: number, aside: Aside): void {
    const { path } = move;
    mkdirSync(this.#holder, { recursive: true, mode: 0o700 });
    // An earlier attempt's, when it was killed: it is never written over.
    this.#with(move, number, aside, (at) => this.#keep(move, at));
    const taken = atPath(this.#root, path, (at) => {
      try {
        renameSync(at, join(this.#holder, `${number}.${aside}`));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === "ENOENT") return null;
        if (code !== "EXDEV") throw error;
        renameSync(at, besideOf(at, number, aside));
      }
      return true;
    });
    if (taken === null) throw edited(path);
  }

  /** Make what comes to a path, ready to be linked there. */
  #prepare(move: Move, number: number, side: "before" | "after"): void {
    mkdirSync(this.#holder, { recursive: true, mode: 0o700 });
    this.#with(move, number, "new", unlinkSync);
    atPath(join(this.#copies, side), move.path, (source) => {
      copyTo(source, join(this.#holder, `${number}.new`));
    });
  }

  /** @returns false where something is at the path, or something on its way is no folder */
  #place(move: Move, number: number, aside: Aside): boolean {
    const placed = this.#with(move, number, aside, (from) =>
      atPath(this.#root, move.path, (at) => placeAt(from, at, number), true),
    );
    return placed === true;
  }

  /** Of a path where nothing was: take away what we put there, and nothing else. */
  #takeBack(move: Move, number: number): boolean {
    const now = this.#now(move.path);
    if (now.kind === "absent") return this.#isOurs(move, number);
    if (!sameContent(now, move.after)) return false;
    this.#take(move, number, "undone");
    return this.#isOurs(move, number);
  }

  #restore(move: Move, number: number): boolean {
    const { path, before, after } = move;
    const now = this.#now(path);
    if (sameContent(now, before)) return true;
    if (now.kind !== "absent") {
      if (!sameContent(now, after)) return false;
      this.#take(move, number, "undone");
    } else if (after.kind !== "absent" && !this.#isAside(move, number, "undone")) {
      // Ours is not there yet; else it was there, and the user removed it.
      if (!this.#isAside(move, number, "new")) return false;
    }
    if (!this.#isOurs(move, number)) return false;
    const isTaken = this.#isAside(move, number, "was");
    if (!isTaken) this.#prepare(move, number, "before");
    return this.#place(move, number, isTaken ? "was" : "new");
  }

  #isAside(move: Move, number: number, aside: Aside): boolean {
    return this.#with(move, number, aside, () => true) === true;
  }

  /** What was taken back may be an edit of that very moment: that goes where it was. */
  #isOurs(move: Move, number: number): boolean {
    const found = this.#with(move, number, "undone", contentOf);
    if (found === null || sameContent(found, move.after)) return true;
    this.#place(move, number, "undone");
    return false;
  }

  /** Where something was put aside; null where it was not. */
  #with<T>({ path }: Move, number: number, aside: Aside, work: (at: string) => T): T | null {
    const held = join(this.#holder, `${number}.${aside}`);
    if (isThere(held)) return work(held);
    return atPath(this.#root, path, (at) => {
      const beside = besideOf(at, number, aside);
      return isThere(beside) ? work(beside) : null;
    });
  }

  #keep({ path }: Move, at: string): string {
    mkdirSync(this.#keeper, { recursive: true, mode: 0o700 });
    for (let number = 1; ; number += 1) {
      const name = basename(path).slice(0, 100);
      const to = join(this.#keeper, `${number}-${name}`);
      if (isThere(to)) continue;
      try {
        renameSync(at, to);
        return to;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EXDEV") throw error;
        const beside = `${basename(path)}.sovereign-kept-${number}`;
        renameSync(at, join(dirname(at), beside));
        return join(this.#root, dirname(path), beside);
      }
    }
  }
}

/** In one step, and nothing that is there is replaced. */
function placeAt(from: string, at: string, number: number): boolean {
  const found = lstatSync(from);
  try {
    if (found.isDirectory()) {
      if (isThere(at)) return false;
      renameSync(from, at);
      return true;
    }
    linkSync(from, at);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" || code === "ENOTEMPTY" || code === "ENOTDIR") return false;
    // A file of another owner may be renamed here, and not linked.
    if (code === "EPERM" && !isThere(at)) {
      renameSync(from, at);
      return true;
    }
    if (code !== "EXDEV") throw error;
    const beside = besideOf(at, number, "new");
    rmSync(beside, { force: true });
    copyTo(from, beside);
    const placed = placeAt(beside, at, number);
    rmSync(beside, { force: true });
    if (!placed) return false;
  }
  unlinkSync(from);
  return true;
}

/** The file's mode is the user's umask, but for whether it may be run. */
function copyTo(source: string, to: string): void {
  const found = lstatSync(source);
  if (found.isSymbolicLink()) {
    symlinkSync(readlinkSync(source, { encoding: "buffer" }), to);
    return;
  }
  const mode = (found.mode & 0o100) === 0 ? 0o666 : 0o777;
  const bytes = readPlainBytes(source, FILE_BYTES_MAX);
  if (bytes === null) throw edited(source);
  writeFileSync(to, bytes, { flag: "wx", mode });
}

/** On another file system than the repository's own folder. */
function besideOf(at: string, number: number, aside: Aside): string {
  return join(dirname(at), `${PREFIX}${number}.${aside}`);
}

function isThere(at: string): boolean {
  return lstatSync(at, { throwIfNoEntry: false }) !== undefined;
}

function inodeOf(at: string): string {
  const { dev, ino } = lstatSync(at);
  return `${dev}:${ino}`;
}

function edited(path: string): SovereignError {
  return new SovereignError(
    "ERR_REPOSITORY_DIRTY",
    `${JSON.stringify(path)} was edited just now. Everything is as it was before; try again.`,
    { path },
  );
}

/** Remove what a killed switch of an earlier version left beside the paths. */
export function removeLeftovers(root: string, paths: readonly string[]): void {
  for (const path of new Set(paths.map((one) => join(dirname(one), "x")))) {
    atPath(root, path, (at) => {
      const folder = dirname(at);
      for (const name of readdirSync(folder))
        if (/^\.sovereign-switch-[0-9a-f]{12}$/.test(name)) unlinkSync(join(folder, name));
    });
  }
}

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { isSovereignError, SovereignError } from "@sovereign/core";
import { withLook } from "../../process/index.ts";
import {
  beginAgain,
  breakClaims,
  type Change,
  FILE_BYTES_MAX,
  Git,
  type Head,
  INDEX_BYTES_MAX,
  readHead,
  readPlainBytes,
  readPlainText,
  readRef,
  type UserRepository,
  withRefLocked,
} from "../git/index.ts";
import { refuseFolded } from "./case-folding.ts";
import { breakIndexLock, lockIndex, unlockIndex } from "./index-lock.ts";
import { breakRefLocks, findRefLocks, heldRefs } from "./ref-locks.ts";
import { copyIndex, copyKeepingTime } from "./index-copy.ts";
import { contentAt, fileOnly, sameContent } from "./tree-content.ts";
import { type Kept, removeLeftovers, TreeMoves } from "./tree-moves.ts";
import { isCopy, type Journal, placeOf, readJournal, writeJournal } from "./switch-journal.ts";
import { makeOwnFolder } from "../../system/index.ts";

/** One file is hashed, by attributes that lie in the user's folders. */
const LOOK_MS = 30_000;

export interface SwitchOptions {
  readonly repository: UserRepository;
  /** Ours: it knows both commits and has our configuration. */
  readonly git: Git;
  readonly from: Head;
  readonly to: { readonly commit: string; readonly tree: string };
  /** What differs from `from` to `to`. */
  readonly changes: readonly Change[];
  /** Where the journal and the copies go; emptied first. */
  readonly folder: string;
  /** For the reflog: why, and when in seconds since 1970. */
  readonly reason: string;
  readonly at: number;
  /** For tests: called between the steps that change something. */
  readonly onStep?: (step: SwitchStep) => void;
}

export type SwitchStep = "journalled" | "foldered" | "replaced" | "indexed" | "locked" | "moved";

/**
 * Move the user's branch and work tree from one commit to another, as a fast-forward does: edits
 * elsewhere stay, an edit in the way refuses all of it. The index is locked throughout, so the
 * user's own git waits or refuses; every file changes in one step; what a kill leaves is undone by
 * {@link recoverSwitch}.
 *
 * @returns what other programs wrote meanwhile and is nowhere else, with where it is kept
 * @throws ERR_REPOSITORY_BUSY, ERR_REPOSITORY_MOVED, ERR_REPOSITORY_DIRTY with both sides untouched
 */
export function switchTree(options: SwitchOptions): Promise<readonly Kept[]> {
  // Where a git was killed amid, all is as it was before.
  return beginAgain(() => switchOnce(options));
}

async function switchOnce(options: SwitchOptions): Promise<readonly Kept[]> {
  const { folder, repository, changes } = options;
  rmSync(folder, { recursive: true, force: true });
  makeOwnFolder(folder);
  const lock = await lockIndex(repository, folder);
  try {
    await requireHead(options);
    const written = changes.filter((one) => one.status !== "deleted").map((one) => one.path);
    await refuseFolded(options.git, repository, options.to.tree, written);
    await checkOutSides(options);
    await requireClean(options);
    const journal = journalOf(options);
    writeJournal(folder, journal);
    options.onStep?.("journalled");
    const moves = movesOf(repository, folder, journal);
    try {
      moves.removeAll();
      moves.makeFolders(journal.folders);
      options.onStep?.("foldered");
      moves.placeAll();
      options.onStep?.("replaced");
      await writeIndex(options);
      options.onStep?.("indexed");
      await moveBranch(options, moves);
      options.onStep?.("moved");
    } catch (error) {
      throw withKept(error, undo(options.repository, options.folder, journal));
    }
    const kept = keptOf(journal, moves);
    writeJournal(folder, { ...journal, state: "done", kept });
    return kept;
  } finally {
    unlockIndex(lock);
  }
}

/** What a switch left that was killed on its way. */
export type Recovery = "none" | "done" | "undone";

/**
 * Bring a switch that was killed to an end: complete where the branch had moved, undone otherwise.
 *
 * @throws ERR_REPOSITORY_DIRTY when a file is neither as it was before nor as it would have become;
 *   nothing of the user's is overwritten then
 */
export async function recoverSwitch(folder: string, repository: UserRepository): Promise<Recovery> {
  // No switch of this folder lives: its run is ours alone.
  breakIndexLock(repository, folder);
  breakClaims(repository, folder);
  const journal = readJournal(folder);
  if (journal !== null && isCopy(journal, repository))
    return endCopied(folder, repository, journal);
  await breakRefLocks(folder, repository);
  if (journal === null) return "none";
  if (journal.state !== "applying") return journal.state;
  const lock = await lockIndex(repository, folder);
  try {
    return await endSwitch(folder, repository, journal);
  } finally {
    unlockIndex(lock);
  }
}

/**
 * A copy of the repository was made while the switch was at work there: the files of the copy are put
 * back. What became of the switch is said of the repository itself alone: so nothing is recorded.
 */
async function endCopied(
  folder: string,
  repository: UserRepository,
  journal: Journal,
): Promise<Recovery> {
  const moves = movesOf(repository, folder, journal);
  if (!moves.isBegun()) return "none";
  const lock = await lockIndex(repository, folder);
  try {
    if (await hasMoved(repository, journal)) moves.settle();
    else requireOurs(folder, putBack(repository, folder, journal));
    return "none";
  } finally {
    unlockIndex(lock);
  }
}

/**
 * A git that outlived the killed process may still be about to move the branch: it is undone while
 * the branch is held where it was, or not before it is known that it is elsewhere.
 */
async function endSwitch(
  folder: string,
  repository: UserRepository,
  journal: Journal,
): Promise<Recovery> {
  const before = { ref: journal.ref, commit: journal.from };
  const user = new Git({ gitDir: repository.gitDir });
  try {
    await withRefLocked(repository, before, folder, null, () => {
      undo(repository, folder, journal);
      return false;
    });
  } catch (error) {
    if (!isSovereignError(error, "ERR_GIT_FAILED")) throw error;
    if (await hasMoved(repository, journal)) {
      const kept = keptOf(journal, movesOf(repository, folder, journal));
      writeJournal(folder, { ...journal, state: "done", kept });
      return "done";
    }
    if ((await commitOf(user, journal)) === journal.from) throw heldOr(error, repository, journal);
    undo(repository, folder, journal);
  }
  return "undone";
}

/**
 * Whether the branch was moved, whatever the user did since: committed on top, or checked out another one.
 * Of the two commits one descends from the other, and only one side of the move has the later one.
 */
async function hasMoved(repository: UserRepository, { ref, from, to }: Journal): Promise<boolean> {
  const user = new Git({ gitDir: repository.gitDir });
  const now = (await commitOf(user, { ref })) || (await readRef(repository)).commit || "";
  if (now === to || now === from) return now === to;
  const isBefore = async (one: string, other: string): Promise<boolean> =>
    (await user.status(["merge-base", "--is-ancestor", one, other], { answers: [1] })) === 0;
  return (await isBefore(from, to))
    ? isBefore(to, now)
    : (await isBefore(to, now)) && !(await isBefore(from, now));
}

/** A branch that did not move is held by somebody, or something else is wrong with it. */
function heldOr(error: unknown, repository: UserRepository, { ref }: Pick<Head, "ref">): unknown {
  const locks = findRefLocks(repository, ref);
  return locks.length === 0 ? error : heldRefs(locks, error);
}

/** Where the branch of a journal is; empty where there is none any more. */
function commitOf(user: Git, { ref }: Pick<Journal, "ref">): Promise<string> {
  const call = { answers: [1, 128] };
  return user.text(["rev-parse", "-q", "--verify", `${ref ?? "HEAD"}^{commit}`], call);
}

async function requireHead({ repository, from }: SwitchOptions): Promise<void> {
  const head = await readHead(repository);
  if (head.commit === from.commit && head.ref === from.ref) return;
  const where = head.ref ?? "a detached HEAD";
  throw new SovereignError(
    "ERR_REPOSITORY_MOVED",
    `Expected ${from.ref ?? "a detached HEAD"} at ${from.commit}, found ${where} at ${head.commit}. Nothing was changed; run the request again from here.`,
    { expected: from.commit, found: head.commit },
  );
}

/** Refuse when an edit of the user's, staged or not, or a file of theirs is where we must write. */
async function requireClean(options: SwitchOptions): Promise<void> {
  const { repository, changes } = options;
  const { root } = repository;
  const staged = new Set(await stagedPaths(options));
  const edited = await editedPaths(options);
  const blockers = changes.flatMap((one) => {
    if (staged.has(one.path)) return one.path;
    if (one.status !== "added") return edited.has(one.path) ? one.path : [];
    return blockerOf(root, one, changes) ?? [];
  });
  const blocked = [...new Set(blockers)];
  if (blocked.length === 0) return;
  const names = blocked.slice(0, 5).map((path) => {
    const isLink = contentAt(root, path).kind === "link";
    return `${JSON.stringify(path)}${isLink ? " (a link)" : ""}`;
  });
  throw new SovereignError(
    "ERR_REPOSITORY_DIRTY",
    `Not as committed, and in the way: ${names.join(", ")}${blocked.length > names.length ? `, and ${blocked.length - names.length} more` : ""}. Nothing was changed; commit or move them, then try again.`,
    { paths: blocked.length },
  );
}

/**
 * Paths whose bytes are not those of the commit. They are read, not what the index remembers of
 * them, so that nobody's edit hides behind a flag. What only line ends tell apart is no edit: its
 * bytes become the copy that an undo puts back.
 */
async function editedPaths(options: SwitchOptions): Promise<Set<string>> {
  const { repository, git, changes, folder } = options;
  const { root } = repository;
  const before = join(folder, "before");
  const edited = new Set<string>();
  for (const { path, status, beforeBlob } of changes) {
    const now = fileOnly(contentAt(root, path));
    const committed = fileOnly(contentAt(before, path));
    if (status === "added" || sameContent(now, committed)) continue;
    edited.add(path);
    if (now.kind !== committed.kind || now.kind === "link") continue;
    const input = readPlainBytes(join(root, path), FILE_BYTES_MAX);
    if (input === null) continue;
    const user = git.at({ workTree: root, settings: repository.lineEnds });
    // Git is given the bytes: what the path is by the time that it would look is nobody's concern.
    const call = { input, timeoutMs: LOOK_MS };
    const blob = await user.text(["hash-object", "--stdin", `--path=${path}`], call);
    if (blob !== beforeBlob) continue;
    edited.delete(path);
    writeFileSync(join(before, path), input);
  }
  return edited;
}

/** Paths that the user staged. Their index is looked at in a copy, under our configuration. */
async function stagedPaths({ repository, git, from, folder }: SwitchOptions): Promise<string[]> {
  const copy = join(folder, "index.before");
  copyIndex(repository, copy);
  const user = git.at({ workTree: repository.root, indexFile: copy });
  const args = ["-z", "--name-only", "--no-renames", "--ignore-submodules=all", "--no-ext-diff"];
  const staged = await user.text(["diff-index", "--cached", ...args, from.commit]);
  return staged.split("\0").filter((path) => path !== "");
}

/** Something untracked where a file must come, or a file where a folder must. */
function blockerOf(root: string, change: Change, changes: readonly Change[]): string | null {
  const goes = (path: string): boolean =>
    changes.some((other) => other.status === "deleted" && other.path === path);
  const names = change.path.split("/");
  for (let depth = 1; depth < names.length; depth++) {
    const parent = names.slice(0, depth).join("/");
    const found = lstatSync(join(root, parent), { throwIfNoEntry: false });
    if (found === undefined) return null;
    if (!found.isDirectory()) return goes(parent) ? null : parent;
  }
  const { kind } = contentAt(root, change.path);
  if (kind === "absent") return null;
  if (kind !== "folder") return change.path;
  return filesBelow(root, change.path).every(goes) ? null : change.path;
}

function filesBelow(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory() ? filesBelow(root, path) : [path];
  });
}

/** Both sides' files, as the user's git writes them, before anything is touched. */
async function checkOutSides(options: SwitchOptions): Promise<void> {
  const { git, from, to, changes, folder } = options;
  const settings = options.repository.lineEnds;
  const sides = [
    ["before", from.commit, changes.filter((one) => one.status !== "added")],
    ["after", to.commit, changes.filter((one) => one.status !== "deleted")],
  ] as const;
  for (const [name, commit, wanted] of sides) {
    mkdirSync(join(folder, name));
    const indexFile = join(folder, `${name}.list`);
    const side = git.at({ workTree: join(folder, name), indexFile, settings });
    await side.bytes(["read-tree", commit]);
    const input = wanted.map((one) => one.path).join("\0");
    // The folder is ours: what is there is of a git that was killed amid, and is written anew.
    await side.bytes(["checkout-index", "--force", "-z", "--stdin", "--quiet"], { input });
  }
}

/** From the journal on, every instant can be undone. */
function journalOf({ repository, from, to, changes, folder }: SwitchOptions): Journal {
  return {
    state: "applying",
    root: repository.root,
    place: placeOf(repository),
    ref: from.ref,
    from: from.commit,
    to: to.commit,
    paths: changes.map(({ path }) => ({
      path,
      before: fileOnly(contentAt(join(folder, "before"), path)),
      after: fileOnly(contentAt(join(folder, "after"), path)),
    })),
    folders: missingFolders(
      repository.root,
      changes.filter((one) => one.status !== "deleted").map((one) => one.path),
    ),
  };
}

/** The folders above these paths that are not there, outer ones first. */
function missingFolders(root: string, paths: readonly string[]): string[] {
  const above = paths.flatMap((path) => {
    const names = path.split("/").slice(0, -1);
    return names.map((_, at) => names.slice(0, at + 1).join("/"));
  });
  return [...new Set(above)].sort().filter((path) => contentAt(root, path).kind !== "folder");
}

function movesOf(repository: UserRepository, folder: string, { paths }: Journal): TreeMoves {
  return new TreeMoves(repository.root, repository.gitDir, folder, paths);
}

/** A two-way merge of the user's index: what they staged elsewhere stays staged. */
async function writeIndex(options: SwitchOptions): Promise<void> {
  const { repository, git, from, to, folder } = options;
  const next = join(folder, "index.next");
  copyIndex(repository, next);
  const settings = repository.lineEnds;
  const user = git.at({ workTree: repository.root, indexFile: next, settings });
  await user.bytes(["read-tree", "-i", "-m", from.commit, to.commit]);
  await user.status(["update-index", "-q", "--refresh"], { answers: [1] });
  installIndex(repository, next);
}

function installIndex({ index }: UserRepository, source: string): void {
  const temporary = `${index}.sovereign`;
  copyKeepingTime(source, temporary);
  renameSync(temporary, index);
}

/** Compare and swap, with no hook; the reflog says who moved it. */
async function moveBranch(
  { repository, from, to, reason, at, folder, onStep }: SwitchOptions,
  moves: TreeMoves,
): Promise<void> {
  const move = { to: to.commit, reason: `sovereign: ${reason}`, at };
  const locked = (): boolean => {
    onStep?.("locked");
    // From here on nothing is put back: what somebody writes into it later is kept.
    moves.requireUntouched();
    // While the branch is held, HEAD is: what it names now, it names when the branch has moved.
    return from.ref === null || namesBranch(repository, from.ref);
  };
  try {
    if (await withRefLocked(repository, from, folder, move, locked)) return;
    throw new Error("HEAD names another branch");
  } catch (cause) {
    // What failed may be the answer alone.
    const { ref, commit } = await withLook(() => readRef(repository));
    if (ref === from.ref && commit === to.commit) return;
    if (ref === from.ref && commit === from.commit) throw heldOr(cause, repository, from);
    throw new SovereignError(
      "ERR_REPOSITORY_MOVED",
      `${from.ref ?? "HEAD"} moved away from ${from.commit} meanwhile. Everything is as it was before.`,
      { expected: from.commit },
      cause,
    );
  }
}

/** False where somebody had HEAD name another branch, which takes no lock of the index. */
function namesBranch({ gitDir }: UserRepository, ref: string): boolean {
  const text = readPlainText(join(gitDir, "HEAD"))?.trim() ?? "ref: none";
  return !text.startsWith("ref:") || text === `ref: ${ref}`;
}

/**
 * Put back what was before, unless it is neither: then it is the user's, and stays.
 * @throws ERR_REPOSITORY_DIRTY where something stays, or is kept elsewhere
 */
function undo(repository: UserRepository, folder: string, journal: Journal): readonly Kept[] {
  const back = putBack(repository, folder, journal);
  const { foreign, kept } = back;
  const state = foreign.length > 0 ? "applying" : "undone";
  writeJournal(folder, { ...journal, state, kept, foreign });
  requireOurs(folder, back);
  return kept;
}

interface PutBack {
  /** What the user edited meanwhile. */
  readonly foreign: string[];
  readonly kept: Kept[];
}

function putBack(repository: UserRepository, folder: string, journal: Journal): PutBack {
  removeLeftovers(
    repository.root,
    journal.paths.map((one) => one.path),
  );
  const moves = movesOf(repository, folder, journal);
  const foreign = moves.undo(journal.folders);
  const saved = join(folder, "index.before");
  const next = join(folder, "index.next");
  // An index that is neither is the user's by now.
  const found = readPlainBytes(repository.index, INDEX_BYTES_MAX);
  if (existsSync(next) && found !== null && readFileSync(next).equals(found)) {
    installIndex(repository, saved);
  }
  return { foreign, kept: keptOf(journal, moves) };
}

/** @throws ERR_REPOSITORY_DIRTY where something stays */
function requireOurs(folder: string, { foreign, kept }: PutBack): void {
  if (foreign.length === 0) return;
  const names = foreign.map((path) => JSON.stringify(path)).join(", ");
  throw new SovereignError(
    "ERR_REPOSITORY_DIRTY",
    `You edited ${names} meanwhile: these stay as they are. What they were before is in ${join(folder, "before")}.${keptText(kept)}`,
    { paths: foreign.length },
  );
}

/** The same failure, which says also where another program's bytes are. */
function withKept(error: unknown, kept: readonly Kept[]): unknown {
  if (kept.length === 0 || !isSovereignError(error)) return error;
  return new SovereignError(error.code, error.message + keptText(kept), error.details, error);
}

function keptOf(journal: Journal, moves: TreeMoves): Kept[] {
  return [...(journal.kept ?? []), ...moves.settle()];
}

const NAMED = 5;

/** For people: where those bytes of theirs are that are nowhere else. */
function keptText(kept: readonly Kept[]): string {
  const named = kept.slice(0, NAMED).map((one) => `${JSON.stringify(one.path)} in ${one.kept}`);
  const more = kept.length - named.length;
  if (more > 0) named.push(`${more} more, all in ${dirname(kept[0]?.kept ?? "")}`);
  const text = ` What another program wrote meanwhile is kept: ${named.join(", ")}.`;
  return kept.length === 0 ? "" : text;
}

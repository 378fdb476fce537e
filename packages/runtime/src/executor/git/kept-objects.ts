import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isSovereignError } from "@sovereign/core";
import { makeOwnFolder } from "../../system/index.ts";
import { Git } from "./git.ts";
import { readPlainText } from "./plain-files.ts";
import { changeRefs, lockIdentity } from "./ref-lock.ts";
import { damaged, type UserRepository } from "./user-repository.ts";

/** Our refs in the user's repository: what one names, git's own cleaning keeps. */
const REFS = "refs/sovereign";
/** How often objects are handed over again that somebody's cleaning took away. */
const TRIES = 3;
/** A lock that is the same for so long is nobody's. */
const ABANDONED_MS = 1000;

/** What a ref of a run holds: where the run began, or what is being moved to or from. */
export type KeptName = "base" | "head" | "rolled-back";

/**
 * Keep a commit, and what it needs, in the user's repository until {@link releaseKept}.
 * @throws ERR_GIT_FAILED where the commit is not there
 */
export async function keepCommit(
  repository: UserRepository,
  run: string,
  name: KeptName,
  commit: string,
): Promise<void> {
  const user = new Git({ gitDir: repository.gitDir });
  const ref = `${REFS}/${run}/${name}`;
  const change = (): Promise<void> =>
    changeRefs(user, repository, `update ${ref} ${commit}\n`, [ref]);
  try {
    await change();
  } catch (error) {
    if (!isSovereignError(error, "ERR_GIT_FAILED")) throw error;
    if (!(await isAbandoned(join(repository.commonDir, `${ref}.lock`)))) throw error;
    await change();
  }
}

/**
 * Remove the lock of a ref of a run, if it stays as it is: the run is ours alone, so a git of ours
 * was killed. The git of somebody who packs refs holds it for a moment only.
 */
async function isAbandoned(lock: string): Promise<boolean> {
  const identity = lockIdentity(lock);
  if (identity === null) return false;
  await sleep(ABANDONED_MS);
  if (lockIdentity(lock) !== identity) return true;
  rmSync(lock, { force: true });
  return true;
}

/**
 * Let go what a run, or its rollback, kept. What cannot be let go now is in nobody's way: whoever
 * asks for the run next tries again.
 *
 * @param only "at HEAD": what HEAD does not name itself stays kept
 * @returns whether it was let go; not where a git failed, or was killed by a stop
 */
export async function releaseKept(
  repository: UserRepository,
  run: string,
  names: readonly KeptName[] = ["base", "head", "rolled-back"],
  only?: "at HEAD",
): Promise<boolean> {
  const user = new Git({ gitDir: repository.gitDir });
  const which = only === undefined ? [] : ["--points-at=HEAD"];
  const wanted = names.map((name) => `${REFS}/${run}/${name}`);
  try {
    const look = ["for-each-ref", "--format=%(refname)", ...which, `${REFS}/${run}/`];
    const said = await user.text(look);
    const there = said.split("\n").filter((ref) => wanted.includes(ref));
    if (there.length > 0) {
      const input = there.map((ref) => `delete ${ref}\n`).join("");
      await changeRefs(user, repository, input, there);
    }
  } catch (error) {
    if (!isSovereignError(error, "ERR_GIT_FAILED")) throw error;
    return false;
  }
  if (names.includes("head")) releasePacks(repository, run);
  for (const folder of [`${REFS}/${run}`, REFS]) removeEmpty(join(repository.commonDir, folder));
  return true;
}

/**
 * Hand the objects between two commits over to the user's repository, where no cleaning of theirs
 * takes them. A pack, because `git prune` takes every loose object that no ref named when it began;
 * marked as kept, because a repack removes the packs that it found when it began. The ref comes
 * after the pack, and is what keeps it once the mark is gone.
 *
 * @param git ours, in which all of it is
 * @param folder ours, for the pack before it is handed over
 * @param onKept for tests: called before it is looked whether all of it is there
 * @throws ERR_REPOSITORY_DAMAGED where after some tries not all of it is there
 */
export async function keepObjects(
  git: Git,
  repository: UserRepository,
  run: string,
  range: { readonly base: string; readonly head: string },
  folder: string,
  onKept?: () => void,
): Promise<void> {
  const { base, head } = range;
  let cause: unknown;
  for (let tries = 0; tries < TRIES; tries += 1) {
    try {
      await handOver(git, repository, run, range, folder);
      await keepCommit(repository, run, "head", head);
      onKept?.();
      if (await isConnected(git, repository, base, head)) return;
    } catch (error) {
      // What was handed over went away before it was looked at.
      if (!isPruned(error)) throw error;
      cause = error;
    }
  }
  throw damaged(repository, head, cause);
}

/** True for what a file that vanishes makes of a call of ours, or of git's. */
function isPruned(error: unknown): boolean {
  if (isSovereignError(error, "ERR_GIT_FAILED")) return true;
  return error instanceof Error && (error as NodeJS.ErrnoException).code === "ENOENT";
}

/**
 * True where every object that a commit needs and another does not need is in the user's own store,
 * and every file of its tree. What a commit graph says of a commit is not believed.
 */
export async function isConnected(
  git: Git,
  { objects }: UserRepository,
  base: string,
  head: string,
): Promise<boolean> {
  const user = git.at({ objectDirectory: objects });
  const look = ["-c", "core.commitGraph=false", "rev-list", "--objects", "--quiet"];
  for (const what of [
    ["--no-walk", head, base],
    [head, `^${base}`],
  ]) {
    if ((await user.status([...look, ...what, "--"], { answers: [128] })) !== 0) return false;
  }
  return true;
}

/** The same, asked of the user's repository alone. */
export function isWhole(repository: UserRepository, base: string, head: string): Promise<boolean> {
  return isConnected(new Git({ gitDir: repository.gitDir }), repository, base, head);
}

async function handOver(
  git: Git,
  { objects, objectFormat }: UserRepository,
  run: string,
  { base, head }: { readonly base: string; readonly head: string },
  folder: string,
): Promise<void> {
  const out = join(folder, "pack");
  rmSync(out, { recursive: true, force: true });
  makeOwnFolder(out);
  const args = ["pack-objects", "--revs", "--quiet", "--delta-base-offset", join(out, "new")];
  const made = await git.text(args, { input: `${head}\n^${base}\n` });
  // A name of its own for each try: one that was there before may be on somebody's list to remove.
  const id = randomBytes(objectFormat === "sha1" ? 20 : 32).toString("hex");
  const packs = join(objects, "pack");
  mkdirSync(packs, { recursive: true });
  const name = join(packs, `pack-${id}`);
  const mark = openSync(`${name}.keep`, "wx", 0o444);
  try {
    writeFileSync(mark, markOf(run));
    fsyncSync(mark);
  } finally {
    closeSync(mark);
  }
  // Git looks for a pack by its list, so the list comes last.
  for (const end of ["pack", "idx"]) {
    const temporary = join(packs, `.sovereign-${id}.${end}`);
    copyFileSync(join(out, `new-${made}.${end}`), temporary, constants.COPYFILE_EXCL);
    chmodSync(temporary, 0o444);
    sync(temporary);
    renameSync(temporary, `${name}.${end}`);
  }
  sync(packs);
  rmSync(out, { recursive: true, force: true });
}

function sync(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function markOf(run: string): string {
  return `sovereign ${run}\n`;
}

/** What a run keeps in the user's repository: the names of its refs, and the marks of its packs. */
export async function keptIn({ gitDir, objects }: UserRepository, run: string): Promise<string[]> {
  const look = ["for-each-ref", "--format=%(refname)", `${REFS}/${run}/`];
  const refs = (await new Git({ gitDir }).text(look)).split("\n").filter((ref) => ref !== "");
  const packs = join(objects, "pack");
  const marks = readdirSync(packs)
    .filter((name) => name.endsWith(".keep"))
    .map((name) => join(packs, name))
    .filter((path) => isMark(path, run));
  return [...refs, ...marks];
}

/** Packs stay, for the user's git may rely on what is in one by now; their marks go. */
function releasePacks({ objects }: UserRepository, run: string): void {
  const packs = join(objects, "pack");
  const names = readdirSync(packs);
  const kept = names.filter((one) => one.endsWith(".keep"));
  for (const mark of kept.filter((one) => isMark(join(packs, one), run))) {
    // Half of a pack, as a kill leaves it, is nothing to anybody.
    const id = /^pack-([0-9a-f]+)\.keep$/.exec(mark)?.[1] ?? "";
    for (const end of ["pack", "idx"])
      rmSync(join(packs, `.sovereign-${id}.${end}`), { force: true });
    if (!names.includes(`pack-${id}.idx`)) rmSync(join(packs, `pack-${id}.pack`), { force: true });
    rmSync(join(packs, mark), { force: true });
  }
}

function isMark(path: string, run: string): boolean {
  return readPlainText(path) === markOf(run);
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Another run's are in it, or none of ours were.
  }
}

import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { canonicalBytes, parseFormat, parseStrictJson, SovereignError } from "@sovereign/core";
import { z } from "zod";
import { isAlive, type ProcessIdentity } from "../../process/index.ts";
import { lockIdentity as identityOf, type UserRepository } from "../git/index.ts";
import { replaceOwnFile, requireOwnFile } from "../../system/index.ts";

const POLL_MS = 50;
const PATIENCE_MS = 10_000;

const noteFormat = z.strictObject({
  /** The git that holds them. */
  holder: z.strictObject({ pid: z.int(), started: z.string() }).nullable(),
  locks: z.array(z.strictObject({ path: z.string(), identity: z.string() })),
});

/**
 * Write down which lock files git made for us, while it holds them: where all of us are killed, so
 * that git cannot take them away, they are known for ours and for nobody else's.
 */
export function noteRefLocks(
  folder: string,
  repository: UserRepository,
  ref: string | null,
  holder: ProcessIdentity | null,
): void {
  const locks = lockPaths(repository, ref).flatMap((path) => {
    const identity = identityOf(path);
    return identity === null ? [] : [{ path, identity }];
  });
  const note = { holder: holder === null ? null : { ...holder }, locks };
  replaceOwnFile(notePath(folder), canonicalBytes(note));
}

/**
 * Remove what a git of ours left that was killed: the very files that were written down, when that
 * git is dead. A lock that is not among them is somebody else's, and stays.
 *
 * @throws ERR_REPOSITORY_BUSY while that git lives
 */
export async function breakRefLocks(folder: string): Promise<void> {
  if (!existsSync(notePath(folder))) return;
  const value = parseStrictJson(requireOwnFile(notePath(folder)));
  const { holder, locks } = parseFormat(noteFormat, value, notePath(folder));
  const left = (): string[] =>
    locks.filter(({ path, identity }) => identityOf(path) === identity).map(({ path }) => path);
  // One that outlived us reads the end of its input, and takes them away itself.
  for (let waited = 0; left().length > 0 && holder !== null && isAlive(holder); waited += POLL_MS) {
    if (waited >= PATIENCE_MS) throw heldRefs(left());
    await sleep(POLL_MS);
  }
  for (const path of left()) rmSync(path, { force: true });
  rmSync(notePath(folder), { force: true });
}

/** The lock files of a branch that are there, whoever made them. */
export function findRefLocks(repository: UserRepository, ref: string | null): string[] {
  return lockPaths(repository, ref).filter((path) => existsSync(path));
}

/** That somebody's lock files keep the branch where it is. */
export function heldRefs(paths: readonly string[], cause?: unknown): SovereignError {
  const text = `git holds the branch: ${paths.join(", ")}. Wait for it; where no git runs, one was killed: remove the file, then go on with the run.`;
  return new SovereignError("ERR_REPOSITORY_BUSY", text, { lock: paths[0] ?? "" }, cause);
}

/** Git locks the branch, and HEAD for its reflog. */
function lockPaths({ gitDir, commonDir }: UserRepository, ref: string | null): string[] {
  const head = join(gitDir, "HEAD.lock");
  return ref === null ? [head] : [join(commonDir, `${ref}.lock`), head];
}

function notePath(folder: string): string {
  return join(folder, "ref-locks.json");
}

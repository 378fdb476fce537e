import { existsSync, rmSync } from "node:fs";
import { join, normalize } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseFormat, parseStrictJson, SovereignError } from "@sovereign/core";
import { z } from "zod";
import { isAlive } from "../../process/index.ts";
import { branchLocks, lockIdentity as identityOf, type UserRepository } from "../git/index.ts";
import { requireOwnFile } from "../../system/index.ts";

const POLL_MS = 50;
const PATIENCE_MS = 10_000;

const noteFormat = z.strictObject({
  /** The git that holds them. */
  holder: z.strictObject({ pid: z.int(), started: z.string() }).nullable(),
  locks: z.array(z.strictObject({ path: z.string(), identity: z.string() })),
});

/**
 * Remove what a git of ours left that was killed, of a version that had git hold the branch: the very
 * files that were written down, when that git is dead. A lock that is not among them is somebody
 * else's, and stays. What the note says is not believed beyond the repository.
 *
 * @throws ERR_REPOSITORY_BUSY while that git lives
 */
export async function breakRefLocks(
  folder: string,
  { gitDir, commonDir }: UserRepository,
): Promise<void> {
  if (!existsSync(notePath(folder))) return;
  const value = parseStrictJson(requireOwnFile(notePath(folder)));
  const { holder, locks } = parseFormat(noteFormat, value, notePath(folder));
  const inside = (path: string): boolean =>
    [gitDir, commonDir].some((one) => normalize(path).startsWith(`${one}/`));
  const known = locks.filter(({ path }) => path.endsWith(".lock") && inside(path));
  const left = (): string[] =>
    known.filter(({ path, identity }) => identityOf(path) === identity).map(({ path }) => path);
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
  return branchLocks(repository, ref).filter((path) => existsSync(path));
}

/** That somebody's lock files keep the branch where it is. */
export function heldRefs(paths: readonly string[], cause?: unknown): SovereignError {
  const text = `git holds the branch: ${paths.join(", ")}. Wait for it; where no git runs, one was killed: remove the file, then go on with the run.`;
  return new SovereignError("ERR_REPOSITORY_BUSY", text, { lock: paths[0] ?? "" }, cause);
}

function notePath(folder: string): string {
  return join(folder, "ref-locks.json");
}

import { linkSync, readdirSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fields, isSovereignError, SovereignError } from "@sovereign/core";
import { readOwnFile } from "../../system/index.ts";
import {
  breakClaims,
  deadOwnerText,
  isOwnerDead,
  ownerText,
  requireWritable,
  startTimeOf,
  type UserRepository,
} from "../git/index.ts";

const POLL_MS = 50;

export interface RepositoryLock {
  /** The run of a dead owner from whom it was taken over; null where nobody had it. */
  readonly takenFrom: string | null;
  release(): void;
  /** Let it go as a dead run's, which has begun what others must end before they work there. */
  leave(run: string): void;
}

/**
 * Take a repository for one run. The lock is a file in the repository's own folder, so that two
 * installations see each other's; one whose owner died, also by kill -9, is taken over.
 *
 * @param waitMs how long to wait for a living owner; 0 refuses at once
 * @throws ERR_REPOSITORY_BUSY, and ERR_REPOSITORY_REFUSED where it may not be written to
 */
export async function lockRepository(
  repository: UserRepository,
  run: string,
  waitMs: number,
): Promise<RepositoryLock> {
  requireWritable(repository);
  const path = join(repository.gitDir, "sovereign.lock");
  const own = `${ownerText(run)}\n`;
  let takenFrom: string | null = null;
  for (let waited = 0; ; waited += POLL_MS) {
    if (tryLink(path, own)) {
      removeLeftovers(path);
      breakClaims(repository);
      return {
        takenFrom,
        release: () => {
          // Only our own: a lock that was taken over is somebody else's.
          if (read(path) === own) unlinkSync(path);
        },
        leave: (of) => {
          if (read(path) === own) replace(path, `${deadOwnerText(of)}\n`);
        },
      };
    }
    const found = read(path);
    if (found !== null && isOwnerDead(found)) {
      breakStale(path, found);
      takenFrom = runOf(found);
    } else if (waited >= waitMs) throw busy(path, found);
    else await sleep(POLL_MS);
  }
}

function replace(path: string, text: string): void {
  renameSync(writeBeside(path, text), path);
}

/** Whatever stands there is taken away, never written to: a link may lead to the user's own file. */
function writeBeside(path: string, text: string): string {
  const temporary = `${path}.${process.pid}`;
  rmSync(temporary, { recursive: true, force: true });
  writeFileSync(temporary, text, { flag: "wx", mode: 0o600 });
  return temporary;
}

/** A link appears with its content or not at all, so nobody reads half an owner. */
function tryLink(path: string, own: string): boolean {
  const temporary = writeBeside(path, own);
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Somebody to whom we do not seem to live took it for a dead one's.
    if (code === "ENOENT") return tryLink(path, own);
    if (code !== "EEXIST") throw error;
    return false;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Remove what those left who were killed while they took the lock, or took it over. */
function removeLeftovers(path: string): void {
  for (const name of readdirSync(dirname(path))) {
    const pid = /^sovereign\.lock\.(?:stale\.)?(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && pid !== String(process.pid) && startTimeOf(pid) === null)
      rmSync(join(dirname(path), name), { recursive: true, force: true });
  }
}

/** True where a lock lies there whose owner is dead, or unknown. */
export function isLockStale(repository: UserRepository): boolean {
  const found = read(join(repository.gitDir, "sovereign.lock"));
  return found !== null && isOwnerDead(found);
}

/** Of several who find the same dead owner, a rename lets one take the file away. */
function breakStale(path: string, dead: string): void {
  const aside = `${path}.stale.${process.pid}`;
  rmSync(aside, { recursive: true, force: true });
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return;
  }
  // Between reading and renaming, another may have taken the lock: then it is given back.
  if (read(aside) === dead) rmSync(aside, { recursive: true, force: true });
  else renameSync(aside, path);
}

/** As the owner wrote it; null where it is no run's id. */
function runOf(found: string): string | null {
  const run = found.trim().split(" ")[3];
  return fields.runId.safeParse(run).data ?? null;
}

const OWNER_BYTES_MAX = 4096;

/** What the lock says; nothing where it is no plain file, so nobody's; null where there is none. */
function read(path: string): string | null {
  try {
    return readOwnFile(path, OWNER_BYTES_MAX)?.toString("utf8") ?? null;
  } catch (error) {
    return isSovereignError(error, "ERR_DATA_FOLDER") ? "" : null;
  }
}

function busy(path: string, found: string | null): SovereignError {
  const [pid = "?", , , run = "?"] = (found ?? "").trim().split(" ");
  return new SovereignError(
    "ERR_REPOSITORY_BUSY",
    `Run ${run} of process ${pid} works on this repository (${path}). Wait for it, or try again with --wait.`,
    { lock: path },
  );
}

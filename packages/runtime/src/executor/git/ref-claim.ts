import {
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  canonicalBytes,
  isSovereignError,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { stoppedNow } from "../../process/index.ts";
import { readOwnFile } from "../../system/index.ts";
import { isOwnerDead, ownerText } from "./owner.ts";
import type { UserRepository } from "./user-repository.ts";

const POLL_MS = 20;
const CLAIM = /^sovereign\.lock\.refs\.\d+-\d+$/;
const CLAIM_BYTES_MAX = 1024 * 1024;
let made = 0;

const claimFormat = z.strictObject({
  /** As {@link isOwnerDead} reads it. */
  owner: z.string(),
  /** For whom: the folder of a run's switch, or what else names the work. */
  work: z.string(),
  locks: z.array(z.string().regex(/^\/.*\.lock$/s)),
});

/** A lock of git's, and how long it is waited for. */
export interface WantedLock {
  readonly path: string;
  readonly patienceMs: number;
}

/**
 * Locks of refs in a user's repository, as git takes them, so that git waits or refuses. Each is a
 * link to one file of ours, the claim, which says whose they are and where. A link appears whole or
 * not at all, and as long as the claim is there no other file can have its number: so a lock is known
 * for ours at every instant, whoever of us is killed, and nobody else's is ever taken for it.
 */
export class RefClaim {
  readonly #claim: string;
  readonly #taken: string[] = [];

  private constructor(claim: string) {
    this.#claim = claim;
  }

  /**
   * @param work names the work over the death of this process; see {@link breakClaims}
   * @throws ERR_GIT_FAILED where one is held for longer, ERR_EFFECT_KILLED after a stop
   */
  static async take(
    { commonDir }: UserRepository,
    locks: readonly WantedLock[],
    work: string,
  ): Promise<RefClaim> {
    const paths = locks.map(({ path }) => path);
    const text = canonicalBytes({ owner: ownerText("refs"), work, locks: paths });
    const path = join(commonDir, `sovereign.lock.refs.${process.pid}-${made++}`);
    const claim = new RefClaim(path);
    try {
      for (const lock of locks) await claim.#wait(lock, text);
      return claim;
    } catch (error) {
      claim.release();
      throw error;
    }
  }

  /** A file of ours beside the claim, which goes with it. */
  get temporary(): string {
    return `${this.#claim}.new`;
  }

  release(): void {
    removeClaim(this.#claim, this.#taken);
  }

  async #wait({ path, patienceMs }: WantedLock, text: Uint8Array): Promise<void> {
    for (let waited = 0; !this.#tryLink(path, text); waited += POLL_MS) {
      requireNotStopped();
      if (waited >= patienceMs) throw failed(`${path} is there: somebody holds it`);
      await sleep(POLL_MS);
    }
    this.#taken.push(path);
  }

  #tryLink(path: string, text: Uint8Array): boolean {
    for (;;) {
      try {
        linkSync(this.#claim, path);
        return true;
      } catch (cause) {
        const { code } = cause as NodeJS.ErrnoException;
        if (code === "EEXIST") return false;
        if (code === "ENOTDIR") throw failed(`${dirname(path)} is no folder`, cause);
        if (code === "EXDEV") throw failed(`${path} is on another disk than its repository`, cause);
        if (code !== "ENOENT") throw cause;
        // The first one, or somebody to whom we do not seem to live removed it; or git its folder.
        makeFolder(dirname(path));
        if (lstatSync(this.#claim, { throwIfNoEntry: false }) === undefined) this.#write(text);
      }
    }
  }

  /** INVARIANT: it is whole, and on the disk, before the first lock is. */
  #write(text: Uint8Array): void {
    rmSync(this.#claim, { recursive: true, force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const fd = openSync(this.#claim, flags, 0o644);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}

/**
 * Remove what killed processes left of {@link RefClaim}: their locks, and nothing else of that name.
 * @param work also the claims for this work, whose process cannot be looked up from here any more
 */
export function breakClaims({ commonDir }: UserRepository, work?: string): void {
  for (const name of readdirSync(commonDir).filter((one) => CLAIM.test(one))) {
    const path = join(commonDir, name);
    const claim = readClaim(path);
    // Half a claim has no lock yet: but whoever is writing it just now must not lose it.
    if (claim === null && isOfLiving(name)) continue;
    if (claim !== null && claim.work !== work && !isOwnerDead(claim.owner)) continue;
    removeClaim(
      path,
      (claim?.locks ?? []).flatMap((lock) => placesOf(lock, commonDir)),
    );
  }
}

/** Where a lock may be: as the claim says, or at the same place in a copy of the whole repository. */
function placesOf(lock: string, commonDir: string): string[] {
  const names = lock.split("/");
  return [lock, ...names.map((_, at) => join(commonDir, ...names.slice(at)))];
}

function isOfLiving(name: string): boolean {
  const pid = Number(/\.(\d+)-/.exec(name)?.[1]);
  return lstatSync(`/proc/${pid}`, { throwIfNoEntry: false }) !== undefined;
}

function readClaim(path: string): z.infer<typeof claimFormat> | null {
  try {
    const bytes = readOwnFile(path, CLAIM_BYTES_MAX);
    return bytes === null ? null : parseFormat(claimFormat, parseStrictJson(bytes), path);
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return null;
  }
}

/** INVARIANT: the claim goes last: without it nobody could tell whose the locks are. */
function removeClaim(claim: string, locks: readonly string[]): void {
  const own = identityOf(claim);
  for (const path of own === null ? [] : locks) {
    if (identityOf(path) === own) rmSync(path, { force: true });
  }
  rmSync(`${claim}.new`, { recursive: true, force: true });
  rmSync(claim, { recursive: true, force: true });
}

function identityOf(path: string): string | null {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return found?.isFile() === true ? `${found.dev} ${found.ino}` : null;
}

/** After a stop nothing that acts is begun, here as with a tool. @throws ERR_EFFECT_KILLED */
export function requireNotStopped(): void {
  const why = stoppedNow();
  if (why !== null) throw new SovereignError("ERR_EFFECT_KILLED", why);
}

/** @throws ERR_GIT_FAILED where something else is in the way */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    throw failed(`${path} cannot be made a folder`, cause);
  }
}

/** As git would have failed. */
export function failed(why: string, cause?: unknown): SovereignError {
  const details = { command: "update-ref", status: 1 };
  return new SovereignError("ERR_GIT_FAILED", `The ref was not changed: ${why}.`, details, cause);
}

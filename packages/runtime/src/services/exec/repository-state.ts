import { join } from "node:path";
import { isSovereignError, type SovereignError } from "@sovereign/core";
import {
  reopenRepository,
  isSwitchHalf,
  isSwitchOpen,
  lockRepository,
  readHead,
  readRef,
  recoverSwitch,
  switchedTo,
  releaseKept,
  type RepositoryLock,
  type UserRepository,
} from "../../executor/index.ts";
import type { RunRow } from "../../runs/index.ts";
import { type FrozenExec, openFrozenExec } from "./exec-context.ts";
import type { RunOptions } from "../runs/lifecycle.ts";
import { mendBroughtBack, readCommits } from "./mend-repository.ts";
import type { Installation } from "../../installation/index.ts";
import { runNotFound } from "../runs/run-folder.ts";

/** Where an execution stands, when what a kill left of a move has been brought to an end. */
export interface Standing {
  readonly row: RunRow;
  readonly frozen: FrozenExec;
  readonly repository: UserRepository;
  /** Where the run brought the branch; null where it did not. */
  readonly broughtTo: string | null;
  readonly head: string;
  /** The branch that is checked out; null for none. */
  readonly ref: string | null;
  /** What became of a move of the branch that a kill had left halfway. */
  readonly recovery: "none" | "done" | "undone";
  /** True where the branch was moved back, and not all that follows is done. */
  readonly movedBack: boolean;
  readonly place: "at base" | "at result" | "elsewhere";
}

/** {@link Standing} while the repository is held. */
export interface HeldStanding extends Standing {
  release(): void;
}

/**
 * Hold an execution's repository, end what a kill left halfway in it, and do something there.
 *
 * @throws ERR_RUN_NOT_FOUND, ERR_REPOSITORY_BUSY while the run is alive
 */
export async function withStanding<T>(
  options: RunOptions,
  runId: string,
  work: (standing: HeldStanding) => Promise<T>,
): Promise<T> {
  const standing = await holdStanding(options, runId);
  try {
    return await work(standing);
  } finally {
    standing.release();
  }
}

/** The same for whoever lets it go again. @throws ERR_RUN_NOT_FOUND, ERR_REPOSITORY_BUSY */
export async function holdStanding(options: RunOptions, runId: string): Promise<HeldStanding> {
  const { installation, tenantId } = options;
  const { row, frozen } = await openRequest(installation, tenantId, runId);
  const { root, commit: base } = frozen.plan.repository;
  const repository = await reopenRepository(root);
  const lock = await holdRepository(options, repository, runId);
  try {
    // The way back comes after the way there: so it is ended first.
    const back = await endSwitch(join(rollbackFolder(installation, runId), "switch"), repository);
    const there = await endSwitch(switchFolder(installation, runId), repository);
    const recorded = await readCommits(options, runId);
    const { commit: at, ref } = await readRef(repository);
    // A kill came before the record: the journal says where, whatever was committed on top since.
    const result = recorded.broughtTo ?? switchedTo(switchFolder(installation, runId));
    if (at === result) await mendBroughtBack(options, runId, frozen, repository, recorded);
    const { commit: head } = await readHead(repository);
    return {
      row,
      frozen,
      repository,
      broughtTo: result,
      head,
      ref,
      recovery: back.ended ?? there.ended ?? "none",
      movedBack: back.state === "done",
      place: head === result ? "at result" : head === base ? "at base" : "elsewhere",
      release: () => {
        letGo(installation, lock, runId);
      },
    };
  } catch (error) {
    letGo(installation, lock, runId);
    throw error;
  }
}

/** Hold a repository for a run that is gone on with. */
interface HeldAgain {
  readonly repository: UserRepository;
  /** What could not be put back of a move that a kill had left halfway, because the user edited it. */
  readonly left: SovereignError | null;
  release(): void;
}

/**
 * Hold the repository of a run that is gone on with, or only to be ended. What a kill left halfway of
 * its own move is ended before anything else: no end of a run may leave it as it is.
 *
 * @throws ERR_REPOSITORY_BUSY
 */
export async function holdOwn(
  options: RunOptions,
  repository: UserRepository,
  runId: string,
): Promise<HeldAgain> {
  const { installation } = options;
  const lock = await holdRepository(options, repository, runId);
  const release = (): void => {
    letGo(installation, lock, runId);
  };
  try {
    await endSwitch(switchFolder(installation, runId), repository);
    return { repository, left: null, release };
  } catch (error) {
    if (isSovereignError(error, "ERR_REPOSITORY_DIRTY"))
      return { repository, left: error, release };
    release();
    throw error;
  }
}

/** Whoever comes next ends a move that is still half: so its run stays in the lock. */
function letGo(installation: HasFolder, lock: RepositoryLock, runId: string): void {
  const folders = [
    switchFolder(installation, runId),
    join(rollbackFolder(installation, runId), "switch"),
  ];
  if (folders.some(isSwitchHalf)) lock.leave(runId);
  else lock.release();
}

type HasFolder = Pick<Installation, "folder">;

/**
 * Hold a repository for one run. A run that was killed while it held it has its move ended first:
 * nobody else would know of it.
 *
 * @throws ERR_REPOSITORY_BUSY
 */
export async function holdRepository(
  { installation, waitMs }: { readonly installation: HasFolder; readonly waitMs: number },
  repository: UserRepository,
  runId: string,
): Promise<RepositoryLock> {
  const lock = await lockRepository(repository, runId, waitMs);
  if (lock.takenFrom === null || lock.takenFrom === runId) return lock;
  try {
    await endSwitch(join(rollbackFolder(installation, lock.takenFrom), "switch"), repository);
    await endSwitch(switchFolder(installation, lock.takenFrom), repository);
    // A rollback that has not moved the branch keeps nothing: who goes on with it keeps it again.
    await releaseKept(repository, lock.takenFrom, ["rolled-back"], "at HEAD");
    return lock;
  } catch (error) {
    // Then all is put back but the user's own edits, which no later run would have to wait for.
    if (isSovereignError(error, "ERR_REPOSITORY_DIRTY")) lock.release();
    else letGo(installation, lock, lock.takenFrom);
    throw error;
  }
}

/** Let go what a killed run holds. */
export async function freeRepository(
  installation: HasFolder,
  repository: UserRepository,
): Promise<void> {
  const lock = await holdRepository({ installation, waitMs: 0 }, repository, "none");
  lock.release();
}

/** Where the journal of a move of the branch is, and what it found in the way. */
export function switchFolder(installation: HasFolder, runId: string): string {
  return join(installation.folder.run(runId), "work", "switch");
}

/** Below the run that is undone: whoever asks for its status finds there what a kill left. */
export function rollbackFolder(installation: HasFolder, ofRun: string): string {
  return join(installation.folder.run(ofRun), "rollback");
}

/** An execution as it was frozen. @throws ERR_RUN_NOT_FOUND, ERR_REQUEST_INVALID */
export async function openRequest(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<{ row: RunRow; frozen: FrozenExec; folder: string }> {
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  const folder = installation.folder.run(runId);
  return { row, frozen: await openFrozenExec(folder, row), folder };
}

/** @returns how the move stands, and what became of it if it was still open */
async function endSwitch(
  folder: string,
  repository: UserRepository,
): Promise<{ state: "none" | "done" | "undone"; ended: "none" | "done" | "undone" | null }> {
  const open = isSwitchOpen(folder);
  const state = await recoverSwitch(folder, repository);
  return { state, ended: open ? state : null };
}

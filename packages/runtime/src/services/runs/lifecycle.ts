import { isSovereignError, type Mode, SovereignError } from "@sovereign/core";
import { requireRunKeys, waitingForKeys } from "../../installation/index.ts";
import type { Outcome } from "../../kernel/index.ts";
import { withTools } from "../../process/index.ts";
import { checkTenant, isPassing, type RunRow, RunStopped } from "../../runs/index.ts";
import type { WorkOwner } from "../../scram/index.ts";
import type { QueuePlace } from "../../ledger/index.ts";
import { newId, systemEntropy } from "../../system/index.ts";
import { withQuietListener } from "./listener.ts";
import {
  authorityOf,
  type OpenedSession,
  ownOptions,
  type SessionOptions,
} from "./open-session.ts";
import { requireArmed, requireUntripped } from "./require-armed.ts";
import { makeRunFolder } from "./run-folder.ts";
import { cancelError, type Cancelled, watchCancel } from "./cancel-watch.ts";
import { enrolFirstUse } from "./first-use.ts";
import { refuseUnasked } from "./asked-roles.ts";
import { raiseFor, raiseLost, type Watched } from "./run-incidents.ts";
import type { RunResult } from "./run-result.ts";
import { publishSealed, sealRun } from "./seal-run.ts";

/** Whoever has a run carried out. */
export interface RunOptions extends SessionOptions {
  /** How long to wait for another run on the same repository, in milliseconds. */
  readonly waitMs: number;
  /** Set where the run is only to be ended, because somebody cancelled it. */
  readonly cancelled?: Cancelled;
  /** Set where a worker is to carry it out: it is admitted, and no more. */
  readonly queue?: QueuePlace;
  /** Set where a worker goes on with it; `lostBy` is the worker that had it and did not end it. */
  readonly worker?: { readonly lostBy: string | null };
}

/** How work on a run ended: for ever, or `pending` until what it waits for is there. */
export interface Ending {
  readonly status: "completed" | "failed" | "pending";
  readonly reason: string | null;
  /** The error's code where the run did not complete. */
  readonly code: string | null;
  /** The outcome that stopped it, if one did. */
  readonly outcome: Outcome | null;
}

/** How a run ended for ever. */
export type Final = Ending & { readonly status: "completed" | "failed" };

export const COMPLETED: Final = { status: "completed", reason: null, code: null, outcome: null };

/** One run, as far as it is known before its session is open. */
export interface KnownRun<Frozen, Hold> {
  readonly runId: string;
  readonly mode: Mode;
  /** As an earlier process left it; null for a new one. */
  readonly row: RunRow | null;
  readonly frozen: Frozen;
  readonly hold: Hold;
}

/** One run while this process works on it: what its kind does on its own. */
export interface RunWork {
  readonly opened: OpenedSession;
  /** The command that goes on with it. */
  readonly resume: string;
  /** Tell whoever watches that it starts, or goes on. */
  announce(): void;
  /** How it ended, where an earlier process recorded that and died before the seal. */
  recorded?(): Promise<Ending | null>;
  /** @throws RunStopped when a step did not complete */
  carryOut(): Promise<Ending>;
  /** Record what belongs to the evidence beside the steps. Nothing is recorded twice. */
  conclude?(ending: Final): Promise<void>;
  /** True where a step that happened is evidence by itself, also where nobody goes on with the run. */
  readonly recallsAlone?: boolean;
  /**
   * How it ends where it is told to end so before its time: what an earlier process had done by then
   * is done, and is recorded.
   */
  endAs?(ending: Ending): Promise<Ending>;
  /** True where the world has all that it was to do: it is never said to have failed. */
  isPast?(): boolean;
  /** True where the ledger names how it ended: nothing else can be said of it any more. */
  isConcluded?(): boolean;
}

/** What the kinds have in common. */
export abstract class KindWork implements RunWork {
  readonly opened: OpenedSession;
  readonly resume: string;

  constructor(opened: OpenedSession, resume: string) {
    this.opened = opened;
    this.resume = resume;
  }

  abstract announce(): void;
  abstract carryOut(): Promise<Ending>;
}

/** A kind of run. Whatever is not here is the same for all of them, and stands in this file. */
export interface RunKind<Input extends { readonly mode: Mode }, Frozen, Hold extends Held> {
  /** Take what a new run needs for itself, such as its repository. Refuse what cannot begin. */
  hold(options: RunOptions, runId: string, input: Input): Promise<Hold>;
  /** The same for one that is gone on with. */
  holdAgain(options: RunOptions, runId: string, frozen: Frozen): Promise<Hold>;
  /** Copy what is asked for into the run's folder: later edits of the files change nothing. */
  freeze(options: RunOptions, input: Input, folder: string, hold: Hold): Promise<Frozen>;
  /** Open what an earlier process froze. @throws ERR_RUN_DIVERGED where it is not that */
  open(options: RunOptions, row: RunRow): Promise<Frozen>;
  work(options: RunOptions, run: KnownRun<Frozen, Hold>): Promise<RunWork>;
  /** Whose consent it may ask for. Absent where that is not known before. */
  asks?(frozen: Frozen): readonly string[];
  /** Take away what nobody needs once the evidence is published. Repeated after a kill. */
  cleanUp?(options: RunOptions, runId: string, frozen: Frozen): Promise<void>;
}

/** What is held while a process works on a run. */
export interface Held {
  release(): void;
}

export const NOTHING_HELD: Held = { release: () => undefined };

/** Run something new to its end, or until it waits. */
export async function submitRun<Input extends { readonly mode: Mode }, Frozen, Hold extends Held>(
  kind: RunKind<Input, Frozen, Hold>,
  given: RunOptions,
  input: Input,
): Promise<RunResult> {
  const options = withQuietListener(ownOptions(given));
  const { installation, tenantId } = options;
  checkTenant(tenantId);
  const runId = newId("run_", systemEntropy);
  const hold = await kind.hold(options, runId, input);
  try {
    await requireRunKeys(installation, authorityOf(installation, null));
    const folder = await makeRunFolder(installation, tenantId, runId);
    const frozen = await kind.freeze(options, input, folder.path, hold);
    refuseUnasked(options.approvers, kind.asks?.(frozen));
    const known = { runId, mode: input.mode, row: null, frozen, hold };
    return await whileWanted(options, runId, async (wanted) => {
      const work = await kind.work(wanted, known);
      const { queue } = wanted;
      const admit = (): Promise<void> => folder.admit(() => work.opened.session.admit(queue));
      if (queue === undefined) return finish(kind, wanted, known, work, admit);
      try {
        requireUntripped(work.opened.scram, ownerOf(options, runId), null);
        await admit();
        work.announce();
        return { runId, ...QUEUED };
      } finally {
        work.opened.stopWatching();
      }
    });
  } finally {
    hold.release();
  }
}

/**
 * Go on with a run that stopped: after a crash, a Ctrl-C, for approvals or for answers. Of one that
 * was sealed, what a kill kept from being written is written.
 *
 * @param held what is held already, where somebody holds it
 * @throws ERR_RUN_SEALED, ERR_RUN_DIVERGED
 */
export async function continueRun<Input extends { readonly mode: Mode }, Frozen, Hold extends Held>(
  kind: RunKind<Input, Frozen, Hold>,
  given: RunOptions,
  row: RunRow,
  held: Hold | null = null,
): Promise<RunResult> {
  const options = withQuietListener(ownOptions(given));
  const { installation } = options;
  const { runId, mode } = row;
  if (row.sealed !== null) {
    refuseRetry(options, row);
    const result = await publishSealed(options, row);
    if (kind.cleanUp) await kind.cleanUp(options, runId, await kind.open(options, row));
    return result;
  }
  requireArmed(installation, ownerOf(options, runId));
  const frozen = await kind.open(options, row);
  const asks = kind.asks?.(frozen);
  refuseUnasked(options.approvers, asks);
  await enrolFirstUse(installation, installation, { role: "", asks: asks ?? [] }, options);
  const hold = held ?? (await kind.holdAgain(options, runId, frozen));
  try {
    const known = { runId, mode, row, frozen, hold };
    return await whileWanted(options, runId, async (wanted) => {
      const work = await kind.work(wanted, known);
      return finish(kind, wanted, known, work, async () => {
        const { worker } = options;
        await work.opened.session.resume(row.status, worker !== undefined);
        await raiseLost(work.opened.session, runId, worker?.lostBy ?? null);
      });
    });
  } finally {
    if (held === null) hold.release();
  }
}

function ownerOf({ tenantId }: RunOptions, runId: string): WorkOwner {
  return { tenant_id: tenantId, run_id: runId };
}

/** What whoever submits a run for workers is told. */
const QUEUED = {
  status: "queued",
  reason: null,
  code: null,
  outcome: null,
  bundle: null,
  trustRoot: null,
  artifacts: [],
} as const;

/** Work under a signal that also aborts once somebody cancels the run. */
async function whileWanted<T>(
  options: RunOptions,
  runId: string,
  work: (options: RunOptions) => Promise<T>,
): Promise<T> {
  const watch = watchCancel(options, runId);
  try {
    return await work({ ...options, signal: watch.signal });
  } finally {
    watch.stop();
  }
}

/** @throws ERR_RUN_SEALED where somebody asks to try again what has ended for ever */
export function refuseRetry({ retryFailed }: RunOptions, { runId, status }: RunRow): void {
  if (retryFailed !== true) return;
  const text = `Run ${runId} has ended: ${status}. Nothing of it can be tried again. Start a new run.`;
  throw new SovereignError("ERR_RUN_SEALED", text, { runId });
}

/** From the entry with which work on it begins to the published evidence, or until it waits. */
async function finish<Input extends { readonly mode: Mode }, Frozen, Hold extends Held>(
  kind: RunKind<Input, Frozen, Hold>,
  options: RunOptions,
  { runId, row, frozen }: KnownRun<Frozen, Hold>,
  work: RunWork,
  begin: () => Promise<void>,
): Promise<RunResult> {
  const { session, tools, stopWatching } = work.opened;
  const whole = async (): Promise<Ended> => {
    // The sentinel may have found a stop when it started: then nothing is begun that would end for ever.
    requireUntripped(work.opened.scram, ownerOf(options, runId), row === null ? null : work.resume);
    await begin();
    work.announce();
    return waitingForKeys(session, work.resume, () => end(options, work));
  };
  try {
    const ended = await withTools(tools, false, whole);
    stopWatching();
    if (ended.status !== "pending") await kind.cleanUp?.(options, runId, frozen);
    return { runId, ...ended, artifacts: [...session.artifacts] };
  } finally {
    stopWatching();
  }
}

/** How it ended, and where its evidence lies. The enforcement guard may have halted it. */
type Ended = Omit<Ending, "status"> & Pick<RunResult, "status" | "bundle" | "trustRoot">;

async function end(options: RunOptions, work: RunWork): Promise<Ended> {
  const ending = await endingOf(options, work);
  if (ending.status === "pending") {
    // People are asked only for what no other worker can do: not where this process was told to go away.
    const asksPeople = ending.outcome?.status === "PENDING" || ending.outcome === null;
    const stays = options.signal.aborted || !asksPeople;
    await work.opened.session.suspend(ending.reason ?? "it waits", stays);
    return { ...ending, bundle: null, trustRoot: null };
  }
  const concluded = await conclude(work, ending);
  const { reason, code } = concluded;
  const status = code === "ERR_BUDGET_EXCEEDED" ? "halted" : concluded.status;
  const published = await sealRun(options, work.opened, status, reason);
  return { ...concluded, status, ...published };
}

/** A run that waits, was interrupted or lacks what will be there again stays open; else it ends. */
async function endingOf(options: RunOptions, work: RunWork): Promise<Ending> {
  try {
    const recorded = await work.recorded?.();
    if (recorded !== undefined && recorded !== null) return recorded;
    const ending = await carriedOut(options, work);
    const waits = ending.status === "pending";
    return unlessPast(work, waits ? (cancelledBy(options) ?? ending) : ending);
  } catch (error) {
    return unlessPast(work, cancelledBy(options) ?? (await stoppedBy(options, work, error)));
  }
}

/** What was done and could not be recorded stays open: evidence would say that it was not done. */
function unlessPast(work: RunWork, ending: Ending): Ending {
  if (ending.status !== "failed" || work.isPast?.() !== true) return ending;
  const why = ending.reason ?? "";
  const reason = `It was done, which is not recorded yet (${why}). Go on with: ${work.resume}`;
  return { ...ending, status: "pending", reason };
}

async function carriedOut({ cancelled }: RunOptions, work: RunWork): Promise<Ending> {
  if (cancelled === undefined) return work.carryOut();
  // What happened is recorded, whoever cancels: the ledger and the world agree.
  if (work.recallsAlone === true) await work.opened.session.recallOpen();
  const ending = failedBy(cancelError(cancelled));
  return (await work.endAs?.(ending)) ?? ending;
}

/** How it ends where somebody cancelled it, and not where whoever started it went away; else null. */
function cancelledBy({ signal }: RunOptions): Ending | null {
  const reason: unknown = signal.reason;
  return isSovereignError(reason, "ERR_RUN_CANCELLED") ? failedBy(reason) : null;
}

/** @throws what ends no run */
async function stoppedBy(options: RunOptions, work: RunWork, error: unknown): Promise<Ending> {
  if (isSovereignError(error)) return failedBy(error);
  if (!(error instanceof RunStopped)) throw error;
  const { outcome, message: reason } = error;
  await raiseFor(watchedBy(options, work), error);
  if (outcome.status === "UNAVAILABLE") {
    const text = `${reason} Go on later with: ${work.resume}`;
    throw new SovereignError("ERR_STORE_UNAVAILABLE", text, {}, error);
  }
  const interrupted = outcome.status === "KILLED" && options.signal.aborted;
  const status = error.passes || interrupted ? "pending" : "failed";
  return { status, reason, code: outcome.code, outcome };
}

function watchedBy({ installation, tenantId }: RunOptions, { opened }: RunWork): Watched {
  const { store, clock } = installation;
  return { session: opened.session, incidents: store.incidents(tenantId), clock };
}

/** @throws what is not there now, such as the ledger: it ends no run */
function failedBy(error: SovereignError): Ending & { status: "failed" } {
  if (isPassing(error.code) || error.code === "ERR_EFFECT_KILLED") throw error;
  return { status: "failed", reason: error.message, code: error.code, outcome: null };
}

/** Where what was done cannot become evidence, the run has failed; unless its end is recorded. */
async function conclude(work: RunWork, ending: Ending): Promise<Final> {
  const final = {
    ...ending,
    status: ending.status === "completed" ? "completed" : "failed",
  } as const;
  try {
    await work.conclude?.(final);
    return final;
  } catch (error) {
    if (!isSovereignError(error) || final.status === "failed" || work.isConcluded?.() === true)
      throw error;
    const failed = failedBy(error);
    await work.conclude?.(failed);
    return failed;
  }
}

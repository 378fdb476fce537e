import { isSovereignError, type Mode, SovereignError } from "@sovereign/core";
import { requireRunKeys, waitingForKeys } from "../../installation/index.ts";
import type { Outcome } from "../../kernel/index.ts";
import { withTools } from "../../process/index.ts";
import { checkTenant, isPassing, type RunRow, RunStopped } from "../../runs/index.ts";
import { newId, systemEntropy } from "../../system/index.ts";
import { authorityOf, type OpenedSession, type SessionOptions } from "./open-session.ts";
import { requireArmed } from "./require-armed.ts";
import { makeRunFolder } from "./run-folder.ts";
import { enrolFirstUse } from "./first-use.ts";
import { refuseUnasked } from "./asked-roles.ts";
import type { RunResult } from "./run-result.ts";
import { publishSealed, sealRun } from "./seal-run.ts";

/** Whoever has a run carried out. */
export interface RunOptions extends SessionOptions {
  /** How long to wait for another run on the same repository, in milliseconds. */
  readonly waitMs: number;
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
  options: RunOptions,
  input: Input,
): Promise<RunResult> {
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
    const work = await kind.work(options, known);
    return await finish(kind, options, known, work, () =>
      folder.admit(() => work.opened.session.admit()),
    );
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
  options: RunOptions,
  row: RunRow,
  held: Hold | null = null,
): Promise<RunResult> {
  const { installation, tenantId } = options;
  const { runId, mode } = row;
  if (row.sealed !== null) {
    refuseRetry(options, row);
    const result = await publishSealed(options, row);
    if (kind.cleanUp) await kind.cleanUp(options, runId, await kind.open(options, row));
    return result;
  }
  requireArmed(installation, { tenant_id: tenantId, run_id: runId });
  const frozen = await kind.open(options, row);
  const asks = kind.asks?.(frozen);
  refuseUnasked(options.approvers, asks);
  await enrolFirstUse(installation, installation, { role: "", asks: asks ?? [] }, options);
  const hold = held ?? (await kind.holdAgain(options, runId, frozen));
  try {
    const known = { runId, mode, row, frozen, hold };
    const work = await kind.work(options, known);
    return await finish(kind, options, known, work, () =>
      work.opened.session.note("run.resumed", "INFO", { from: row.status }),
    );
  } finally {
    if (held === null) hold.release();
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
  { runId, frozen }: KnownRun<Frozen, Hold>,
  work: RunWork,
  begin: () => Promise<void>,
): Promise<RunResult> {
  const { session, tools, stopWatching } = work.opened;
  const whole = async (): Promise<Ending & Files> => {
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

type Files = Pick<RunResult, "bundle" | "trustRoot">;

async function end(options: RunOptions, work: RunWork): Promise<Ending & Files> {
  const ending = await endingOf(options, work);
  if (ending.status === "pending") {
    await work.opened.session.suspend(ending.reason ?? "it waits");
    return { ...ending, bundle: null, trustRoot: null };
  }
  const concluded = await conclude(work, ending);
  const { status, reason } = concluded;
  const published = await sealRun(options, work.opened, status, reason);
  return { ...concluded, ...published };
}

/** A run that waits, was interrupted or lacks what will be there again stays open; else it ends. */
async function endingOf(options: RunOptions, work: RunWork): Promise<Ending> {
  try {
    return (await work.recorded?.()) ?? (await work.carryOut());
  } catch (error) {
    if (isSovereignError(error)) return failedBy(error);
    if (!(error instanceof RunStopped)) throw error;
    const { outcome, message: reason } = error;
    if (outcome.status === "UNAVAILABLE") {
      const text = `${reason} Go on later with: ${work.resume}`;
      throw new SovereignError("ERR_STORE_UNAVAILABLE", text, {}, error);
    }
    const interrupted = outcome.status === "KILLED" && options.signal.aborted;
    const status = error.passes || interrupted ? "pending" : "failed";
    return { status, reason, code: outcome.code, outcome };
  }
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

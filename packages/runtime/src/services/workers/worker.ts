import { isSovereignError, SovereignError } from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import { requireRunKeys, rolesHere } from "../../installation/index.ts";
import { holdsSandbox } from "../../sandbox/index.ts";
import type { ClaimedRun, WaitingElsewhere, WorkerPlace } from "../../store/index.ts";
import { every, newId, rest, systemEntropy } from "../../system/index.ts";
import type { KeptInstallation } from "../serve/kept-installation.ts";
import { resumeRun } from "../runs/kinds.ts";
import { authorityOf } from "../runs/open-session.ts";
import { HeldRun } from "./held-run.ts";
import { isGivenUp, leaveRun } from "./leave-run.ts";
import { sharedPlaceOf } from "./queue-place.ts";
import { isLeftForRetry } from "./requeue-run.ts";

/** What a worker tells of itself. */
export type WorkerEvent =
  | { readonly event: "worker.started"; readonly worker: string; readonly concurrency: number }
  | {
      readonly event: "worker.took";
      readonly run: string;
      readonly tenant: string;
      readonly lost_by: string | null;
    }
  | {
      readonly event: "worker.ended";
      readonly run: string;
      readonly tenant: string;
      /** `given back` where it could not be carried out. */
      readonly status: string;
      readonly reason: string | null;
    }
  | { readonly event: "worker.waits"; readonly reason: string }
  /** What waits for workers of other data folders. */
  | { readonly event: "worker.leaves"; readonly waiting: readonly WaitingElsewhere[] }
  | { readonly event: "worker.ending"; readonly runs: number }
  | { readonly event: "worker.stopped"; readonly worker: string };

export interface WorkerInput {
  readonly concurrency: number;
  /** A worker that is silent for so long has lost its runs. */
  readonly leaseMs: number;
  /** How long runs at work may go on after the signal. */
  readonly drainMs: number;
  readonly signal: AbortSignal;
  readonly tell: (event: WorkerEvent) => void;
}

const POLL_MS = 500;
/** How often a worker looks at what its data folder has, and at what it has to leave to others. */
const LOOK_MS = 10_000;
/** A run that could not be carried out is left alone for so long, times how often that was. */
const BACK_MS = 5000;
/** Before the lease is over by so large a part of it, this process ends what it has begun. */
const MARGIN = 1 / 6;

/**
 * Carries out runs that wait in the database. Beats keep its leases. Where they fail, it ends its runs before
 * the leases are over. Where it stood still for longer, whoever goes on with a run has raised its fence, so
 * that nothing of this process is recorded any more, and nothing that is not recorded begins.
 */
export class Worker {
  readonly #kept: KeptInstallation;
  readonly #input: WorkerInput;
  readonly #id = newId("wrk_", systemEntropy);
  readonly #held = new Set<HeldRun>();
  readonly #ends = new Set<Promise<void>>();
  #pause = new AbortController();
  #waitsFor = "";
  #leaves = "[]";
  #place: WorkerPlace | null = null;
  #isFit: Promise<boolean> | null = null;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #beating = false;

  constructor(kept: KeptInstallation, input: WorkerInput) {
    this.#kept = kept;
    this.#input = input;
  }

  /** Until the signal. What does not come to its end then is left to other workers. */
  async run(): Promise<void> {
    const { concurrency, leaseMs, drainMs, signal, tell } = this.#input;
    // What cannot be opened at all is told before anything is taken.
    await this.#kept.work(() => Promise.resolve());
    tell({ event: "worker.started", worker: this.#id, concurrency });
    const stopBeating = every(Math.ceil(leaseMs / 3), () => void this.#beat());
    try {
      while (!signal.aborted) if (!(await this.#takeOne())) await this.#rest();
      tell({ event: "worker.ending", runs: this.#held.size });
      const left = setTimeout(() => {
        for (const run of this.#held) run.end(new Error("the worker ends"));
      }, drainMs);
      while (this.#ends.size > 0) await Promise.all(this.#ends);
      clearTimeout(left);
    } finally {
      stopBeating();
      tell({ event: "worker.stopped", worker: this.#id });
    }
  }

  /** Until there may be something to do. */
  async #rest(): Promise<void> {
    this.#pause = new AbortController();
    const signal = AbortSignal.any([this.#input.signal, this.#pause.signal]);
    await rest(POLL_MS, signal);
  }

  /** @returns false where there is nothing to do now */
  async #takeOne(): Promise<boolean> {
    const { concurrency, leaseMs, tell } = this.#input;
    if (this.#held.size >= concurrency) return false;
    const since = performance.now();
    let claimed: ClaimedRun | null;
    try {
      claimed = await this.#kept.look(async (installation) => {
        const { store, scram } = installation;
        const gate = scram.preflight(ANY);
        if (!gate.armed) throw new SovereignError(gate.code, gate.reason);
        return store.queue.claim(this.#id, await this.#lookAround(installation), leaseMs);
      });
    } catch (error) {
      // A database that is away, or a stop, passes; whatever else it is, a worker that says so is not lost.
      this.#waits(error instanceof Error ? error.message : "unknown");
      return false;
    }
    this.#waitsFor = "";
    if (claimed === null) return false;
    const { runId: run, tenantId: tenant, lostBy: lost_by } = claimed;
    tell({ event: "worker.took", run, tenant, lost_by });
    const held = new HeldRun(claimed, since + this.#heldMs);
    this.#held.add(held);
    const end = this.#carryOut(held).finally(() => {
      held.release();
      this.#held.delete(held);
      this.#ends.delete(end);
      this.#pause.abort();
    });
    this.#ends.add(end);
    return true;
  }

  /** What this data folder has: keys and contents may have come since. */
  async #lookAround(installation: Installation): Promise<WorkerPlace> {
    const now = performance.now();
    if (this.#place !== null && now - this.#lookedAt < LOOK_MS) return this.#place;
    const { node, store } = installation;
    // A node that can carry out nothing would take the runs of all others, one after the other.
    const isFit = await (this.#isFit ??= this.#tryHere(installation));
    const contents = isFit ? sharedPlaceOf(installation) : null;
    const place = { node: node.id, contents, roles: await rolesHere(installation) };
    const waiting = await store.queue.elsewhere(place);
    const leaves = JSON.stringify(waiting);
    if (leaves !== this.#leaves) this.#input.tell({ event: "worker.leaves", waiting });
    [this.#place, this.#lookedAt, this.#leaves] = [place, now, leaves];
    return place;
  }

  async #tryHere(installation: Installation): Promise<boolean> {
    const isHeld = await holds(installation.config.scram);
    const why = (await whyLocked(installation)) ?? (isHeld ? null : NO_SANDBOX);
    if (why === null) return true;
    this.#input.tell({ event: "worker.waits", reason: `No run of another node is taken: ${why}` });
    return false;
  }

  get #heldMs(): number {
    return this.#input.leaseMs * (1 - MARGIN);
  }

  async #carryOut(held: HeldRun): Promise<void> {
    const { tenantId, runId, takes, lostBy } = held.claimed;
    try {
      if (isGivenUp(held.claimed)) {
        await this.#giveUp(held);
        return;
      }
      const { status, reason, code } = await this.#kept.work(async (installation) =>
        resumeRun(
          {
            installation,
            tenantId,
            retryFailed: await isLeftForRetry(installation, tenantId, runId),
            approvers: [],
            allowCompatible: false,
            signal: held.signal,
            onProgress: () => undefined,
            waitMs: 0,
            worker: { lostBy },
          },
          runId,
        ),
      );
      const isOpen = status === "pending" || status === "queued";
      const isLeft = held.signal.aborted;
      const passes = isLeft || (code !== null && PASSING.test(code));
      const waitMs = isLeft ? 0 : passes ? BACK_MS : takes * BACK_MS;
      const why = passes ? null : (reason ?? status);
      await this.#settle(({ store }) =>
        isOpen
          ? store.queue.giveBack(this.#id, held.claimed, { waitMs, why })
          : store.queue.finish(this.#id, held.claimed),
      );
      this.#ended(held, status, reason);
    } catch (error) {
      await this.#notCarriedOut(held, error);
    }
  }

  /** The row of a run that waits for people is gone by then; that of one that has ended goes now. */
  async #giveUp(held: HeldRun): Promise<void> {
    const { claimed } = held;
    const reason = await this.#kept.look((installation) => leaveRun(installation, claimed));
    await this.#settle(({ store }) => store.queue.finish(this.#id, claimed));
    this.#ended(held, "left to people", reason);
  }

  async #notCarriedOut(held: HeldRun, error: unknown): Promise<void> {
    const { claimed } = held;
    const why = error instanceof Error ? error.message : "unknown";
    await this.#settle(({ store }) => {
      // Nothing waits that there is not, and nothing of what a worker published before it was lost.
      if (isSovereignError(error) && OVER.has(error.code))
        return store.queue.finish(this.#id, claimed);
      // A stop says nothing about the run, and neither does a database that is away.
      const passes = isSovereignError(error) && PASSING.test(error.code);
      const waitMs = passes ? BACK_MS : claimed.takes * BACK_MS;
      return store.queue.giveBack(this.#id, claimed, { waitMs, why: passes ? null : why });
    });
    this.#ended(held, "given back", why);
  }

  async #settle(work: (installation: Installation) => Promise<void>): Promise<void> {
    try {
      await this.#kept.look(work);
    } catch (error) {
      // Its lease ends, and another worker takes it.
      this.#waits(error instanceof Error ? error.message : "unknown");
    }
  }

  /** What was taken from this worker is not gone on with. */
  async #beat(): Promise<void> {
    if (this.#beating || this.#held.size === 0) return;
    this.#beating = true;
    const held = [...this.#held];
    const since = performance.now();
    try {
      const mine = await this.#kept.look(({ store }) =>
        store.queue.beat(
          this.#id,
          held.map(({ claimed }) => claimed),
          this.#input.leaseMs,
        ),
      );
      for (const run of held) {
        const isRenewed = mine.get(run.claimed.runId);
        if (isRenewed === undefined) run.end(new Error("the run is another worker's"));
        else if (isRenewed) run.keep(since + this.#heldMs);
      }
    } catch (error) {
      // The next beat, or the end of the lease, decides.
      this.#waits(error instanceof Error ? error.message : "unknown");
    } finally {
      this.#beating = false;
    }
  }

  /** Once for each reason: it is asked again and again. */
  #waits(reason: string): void {
    if (reason === this.#waitsFor) return;
    this.#waitsFor = reason;
    this.#input.tell({ event: "worker.waits", reason });
  }

  #ended({ claimed }: HeldRun, status: string, reason: string | null): void {
    const { runId: run, tenantId: tenant } = claimed;
    this.#input.tell({ event: "worker.ended", run, tenant, status, reason });
  }
}

/** Whom only a stop of everything covers. */
const ANY = { tenant_id: "", run_id: "" };
const OVER: ReadonlySet<string> = new Set(["ERR_RUN_NOT_FOUND", "ERR_RUN_SEALED"]);
const PASSING = /^ERR_(SCRAM_|STORE_UNAVAILABLE$)/;

const NO_SANDBOX = "the sandbox does not hold here. Type: sovereign doctor";

async function holds({
  minimum_level,
  require_memory_controller: isCounted,
}: Installation["config"]["scram"]): Promise<boolean> {
  return holdsSandbox(minimum_level, isCounted).catch(() => false);
}

/** Why keys that are here do not open; null where they do. Those that are absent may come later. */
async function whyLocked(installation: Installation): Promise<string | null> {
  try {
    await requireRunKeys(installation, authorityOf(installation, null));
    return null;
  } catch (error) {
    return isSovereignError(error, "ERR_KEY_PASSPHRASE") ? error.message : null;
  }
}

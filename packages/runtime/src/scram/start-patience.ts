import type { Clock } from "../system/index.ts";
import { sightOf } from "../process/index.ts";

/** From the last progress on. */
const PATIENCE_MS = 15_000;
/** However much progress there is. */
const LONGEST_MS = 60_000;
/** Who was started and ended is not replaced sooner. */
const AGAIN_MS = 3000;

/** A sentinel on its way, as whoever started it sees it. */
export interface StartedSentinel {
  readonly pid?: number | undefined;
  /** Null while it runs, or when a signal ended it. */
  readonly exitCode: number | null;
  readonly signalCode: string | null;
}

/**
 * How long it is waited for a sentinel. One that is being started beside others who keep the
 * processors busy, or that reads a long journal, is making progress: it runs, wants to run, or waits
 * for the disk. One that failed makes none, whoever is started in its place.
 */
export class StartPatience {
  readonly #clock: Clock;
  readonly #start: () => StartedSentinel | null;
  readonly #patienceMs: number;
  readonly #since: number;
  #progressAt: number;
  #startedAt = -Infinity;
  #started: StartedSentinel | null = null;
  #failed = false;

  /**
   * @param start starts one; null where it cannot be watched
   * @param patienceMs how long without progress
   */
  constructor(clock: Clock, start: () => StartedSentinel | null, patienceMs = PATIENCE_MS) {
    this.#clock = clock;
    this.#start = start;
    this.#patienceMs = patienceMs;
    this.#since = clock.monotonicMs();
    this.#progressAt = this.#since;
  }

  get waitedMs(): number {
    return this.#clock.monotonicMs() - this.#since;
  }

  /** True once it has been waited for long enough. Looks for progress, so ask often. */
  get over(): boolean {
    const now = this.#clock.monotonicMs();
    if (this.#progresses()) this.#progressAt = now;
    return now - this.#progressAt >= this.#patienceMs || now - this.#since >= LONGEST_MS;
  }

  /** Start one where none is on its way. One before it that is about to end gives its place up. */
  startWhereNeeded(): void {
    const now = this.#clock.monotonicMs();
    if (this.#runs() || now - this.#startedAt < AGAIN_MS) return;
    this.#startedAt = now;
    this.#started = this.#start();
  }

  #runs(): boolean {
    const { exitCode, signalCode } = this.#started ?? { exitCode: 0, signalCode: null };
    // The exit code of one that found another in its place is 0.
    if (exitCode !== 0 && (exitCode !== null || signalCode !== null)) this.#failed = true;
    return exitCode === null && signalCode === null;
  }

  #progresses(): boolean {
    if (!this.#runs() || this.#failed) return false;
    const { pid } = this.#started ?? {};
    const state = pid === undefined ? undefined : sightOf(pid)?.state;
    return state === "R" || state === "D";
  }
}

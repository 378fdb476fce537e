import type { Clock } from "./clock.ts";

const THEN_EVERY_MS = 3_600_000;

/**
 * Counts what others can make happen as often as they like: the first so many times are written, and
 * then at most one an hour, with the number of those left out. So a flood can neither fill the disk nor
 * make us blind for ever.
 */
export class FloodCount {
  readonly #clock: Clock;
  readonly #first: number;
  #written: number;
  #leftOut = 0;
  #last: number;

  /**
   * @param first how many are written, each
   * @param written how many were written before
   */
  constructor(clock: Clock, first: number, written = 0) {
    this.#clock = clock;
    this.#first = first;
    this.#written = written;
    this.#last = clock.monotonicMs();
  }

  /**
   * @param times how often it happened since it was told last
   * @returns how many were left out besides the one that is to be written; null to leave it out, too
   */
  count(times = 1): number | null {
    const now = this.#clock.monotonicMs();
    if (this.#written >= this.#first && now - this.#last < THEN_EVERY_MS) {
      this.#leftOut += times;
      return null;
    }
    this.#written += 1;
    this.#last = now;
    return this.#take(times);
  }

  /** At the end, where more may not come. @returns as {@link count}; null where none was left out */
  rest(): number | null {
    if (this.#leftOut === 0) return null;
    this.#written += 1;
    return this.#take(0);
  }

  /**
   * What was to be written was not. Nothing may be counted between: what came would be left out for it.
   *
   * @param leftOut as {@link count} returned it, or one more than {@link rest} did
   */
  undo(leftOut: number): void {
    this.#written -= 1;
    this.#leftOut += leftOut;
  }

  #take(times: number): number {
    const others = this.#leftOut + times - 1;
    this.#leftOut = 0;
    return others;
  }
}

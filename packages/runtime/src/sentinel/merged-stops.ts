import type { Clock } from "../system/index.ts";

/** So many stops that nobody authorised are each carried out, then one in a while. */
const EACH_MAX = 20;
const WHILE_MS = 10_000;

/**
 * Stops of everything that no two keys authorised: a flood of them is one stop, not thousands. Each
 * would kill, sweep, sign and write, and an order with both keys would wait for it.
 */
export class MergedStops<T> {
  readonly #clock: Clock;
  readonly #stopped: () => boolean;
  #running: Promise<T> | null = null;
  #last: T | null = null;
  #count = 0;
  #nextAt = 0;

  /** @param stopped whether everything is stopped already, and nothing on the list lives */
  constructor(clock: Clock, stopped: () => boolean) {
    this.#clock = clock;
    this.#stopped = stopped;
  }

  /**
   * @param work carries the stop out
   * @returns what came of it, or of one that stops the same
   */
  run(work: () => Promise<T>): Promise<T> {
    // One that is under way refuses from its beginning all that this one would stop.
    if (this.#running !== null) return this.#running;
    const now = this.#clock.monotonicMs();
    if (!this.#stopped()) this.#count = 0;
    else if (this.#last !== null && this.#count >= EACH_MAX && now < this.#nextAt) {
      return Promise.resolve(this.#last);
    }
    this.#count += 1;
    this.#nextAt = now + WHILE_MS;
    const running = work().finally(() => {
      this.#running = null;
    });
    this.#running = running;
    void running.then(
      (result) => {
        this.#last = result;
      },
      () => undefined,
    );
    return running;
  }
}

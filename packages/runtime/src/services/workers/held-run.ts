import type { ClaimedRun } from "../../store/index.ts";

/** A run while a worker has it: its signal aborts when the lease is over by this process's own clock. */
export class HeldRun {
  readonly claimed: ClaimedRun;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  /** @param until a point on the clock of `performance.now()`, which does not stand still with the process */
  constructor(claimed: ClaimedRun, until: number) {
    this.claimed = claimed;
    this.keep(until);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The lease goes on. What was ended stays so. */
  keep(until: number): void {
    clearTimeout(this.#timer);
    if (this.signal.aborted) return;
    const left = Math.max(0, until - performance.now());
    this.#timer = setTimeout(() => {
      this.end(new Error("the lease is over"));
    }, left);
  }

  end(reason: Error): void {
    this.#controller.abort(reason);
  }

  release(): void {
    clearTimeout(this.#timer);
  }
}

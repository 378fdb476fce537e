/** Pieces of work one after another, in the order in which they were given. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** @returns what the work returns; its failure is the caller's to see, and the next one begins anyway */
  take<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Resolves when all that was given so far is done. */
  async over(): Promise<void> {
    await this.#last;
  }
}

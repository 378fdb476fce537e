/** Many pieces of work in slices: between two slices whoever else waits has the processor. */
export class Slices {
  readonly #ms: number;
  #end = 0;
  #last: Promise<void> = Promise.resolve();

  /** @param ms how long a slice is */
  constructor(ms: number) {
    this.#ms = ms;
  }

  /** To be awaited before each piece; whoever asks first comes first. */
  next(): Promise<void> {
    this.#last = this.#last.then(() => this.#turn());
    return this.#last;
  }

  async #turn(): Promise<void> {
    if (performance.now() < this.#end) return;
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    this.#end = performance.now() + this.#ms;
  }
}

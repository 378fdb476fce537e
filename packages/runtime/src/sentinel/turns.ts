/** For so long messages are taken before whoever else wants the processor has it. */
const SLICE_MS = 5;

/** After a newcomer others wait so long for the next one, who may have an order; in all, so long. */
const NEXT_MS = 2;
const NEWCOMERS_MS = 40;

/** Messages of one sender that wait for their turn. */
export interface Waiting {
  readonly orders: (() => void)[];
  readonly others: (() => void)[];
}

/**
 * Whose message is taken next. Orders come before everything else, and each sender has one turn at a
 * time: who sends many delays themselves.
 */
export class Turns {
  readonly #orders = new Set<Waiting>();
  readonly #others = new Set<Waiting>();
  #scheduled = false;
  /** Until when newcomers come first, and since when they do. */
  #heldUntil = 0;
  #heldSince = 0;

  static queue(): Waiting {
    return { orders: [], others: [] };
  }

  /** @param urgent for what may be an order */
  add(sender: Waiting, urgent: boolean, work: () => void): void {
    (urgent ? sender.orders : sender.others).push(work);
    (urgent ? this.#orders : this.#others).add(sender);
    this.#schedule();
  }

  /** The event loop lets one in at a time; among a flood of them may be one with an order. */
  newcomer(): void {
    const now = performance.now();
    if (now > this.#heldUntil) this.#heldSince = now;
    this.#heldUntil = Math.min(now + NEXT_MS, this.#heldSince + NEWCOMERS_MS);
  }

  /** What it has yet to say is of no matter any more. */
  forget(sender: Waiting): void {
    this.#orders.delete(sender);
    this.#others.delete(sender);
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#run();
      if (this.#orders.size + this.#others.size > 0) this.#schedule();
    });
  }

  #run(): void {
    const end = performance.now() + SLICE_MS;
    for (let now = end - SLICE_MS; now < end; now = performance.now()) {
      const urgent = this.#orders.size > 0;
      if (!urgent && now < this.#heldUntil) return;
      const ring = urgent ? this.#orders : this.#others;
      const [sender] = ring;
      if (sender === undefined) return;
      const queue = urgent ? sender.orders : sender.others;
      const work = queue.shift();
      // To the end of the ring, if it has more to say.
      ring.delete(sender);
      if (queue.length > 0) ring.add(sender);
      work?.();
    }
  }
}

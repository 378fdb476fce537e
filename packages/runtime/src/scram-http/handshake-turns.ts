import type { Clock } from "../system/index.ts";
import { RateLimits } from "./rate-limits.ts";

/** How many handshakes of one address are begun before it waits behind everybody else. */
const FIRST = { burst: 8, perSecond: 0.5 };
/** Of those addresses one handshake begins in so long: a tenth of a processor, and not all of it. */
const OTHERS_EVERY_MS = 20;
/** Begun in one turn of the event loop, so that requests that were let in are answered in between. */
const FIRST_PER_TURN = 2;
/** While others still come, one in so long: each turn lets one of them in, and is to be short. */
const FIRST_EVERY_MS = 4;
/** Those whose connection is gone are forgotten where so many wait, and again where twice as many do. */
const WAITING_MIN = 1024;

/** A connection that waits for its handshake. */
interface Waiting {
  /** Whether it was broken off meanwhile. */
  readonly gone: () => boolean;
  readonly begin: () => void;
}

/**
 * Whose TLS handshake is next. Each costs a signature, and thousands may be asked for: whoever asks
 * for the first time in a while does not wait for those who ask again and again. Among equals the last
 * to come is the first, because its sender has not given up yet.
 */
export class HandshakeTurns {
  readonly #clock: Clock;
  readonly #limits: RateLimits;
  #first: Waiting[] = [];
  #others: Waiting[] = [];
  #forgetAt = WAITING_MIN;
  #firstAt = 0;
  #othersAt = 0;
  /** Whether somebody came since the last turn. */
  #came = false;
  #scheduled = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#limits = new RateLimits(clock, FIRST);
  }

  /** @param source whose address counts as one */
  add(source: string, waiting: Waiting): void {
    const lane = this.#limits.count(source) === 0 ? this.#first : this.#others;
    lane.push(waiting);
    this.#came = true;
    if (this.#first.length + this.#others.length > this.#forgetAt) this.#forgetGone();
    this.#schedule();
  }

  #forgetGone(): void {
    this.#first = this.#first.filter(({ gone }) => !gone());
    this.#others = this.#others.filter(({ gone }) => !gone());
    const left = this.#first.length + this.#others.length;
    this.#forgetAt = Math.max(WAITING_MIN, 2 * left);
  }

  #schedule(): void {
    const wait = this.#othersAt - this.#clock.monotonicMs();
    if (this.#first.length > 0 || (this.#others.length > 0 && wait <= 0)) {
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.#run();
      });
    } else if (this.#others.length > 0) {
      // Who comes for the first time meanwhile does not wait for it.
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#schedule();
      }, wait);
    }
  }

  #run(): void {
    const now = this.#clock.monotonicMs();
    const most = this.#came ? Number(now >= this.#firstAt) : FIRST_PER_TURN;
    this.#came = false;
    for (let begun = 0; begun < most && beginLast(this.#first); begun++) {
      this.#firstAt = now + FIRST_EVERY_MS;
    }
    if (now >= this.#othersAt && beginLast(this.#others)) this.#othersAt = now + OTHERS_EVERY_MS;
    this.#schedule();
  }
}

/** @returns false where none waits any more */
function beginLast(lane: Waiting[]): boolean {
  for (let next = lane.pop(); next !== undefined; next = lane.pop()) {
    if (next.gone()) continue;
    next.begin();
    return true;
  }
  return false;
}

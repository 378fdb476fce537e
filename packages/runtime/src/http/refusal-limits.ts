import type { Clock } from "../kernel/index.ts";

const PER_SOURCE = { burst: 10, perSecond: 1 };
const ALTOGETHER = { burst: 100, perSecond: 20 };
const SOURCES_MAX = 10_000;

/** Tokens that come back with time. */
class Bucket {
  readonly #rate: { readonly burst: number; readonly perSecond: number };
  #tokens: number;
  #at: number;

  constructor(rate: { readonly burst: number; readonly perSecond: number }, now: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#at = now;
  }

  /** Take one, and answer 0; or how many seconds it takes until there is one. */
  take(now: number): number {
    const { burst, perSecond } = this.#rate;
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) / 1000) * perSecond);
    this.#at = now;
    if (this.#tokens < 1) return Math.ceil((1 - this.#tokens) / perSecond);
    this.#tokens -= 1;
    return 0;
  }
}

/**
 * How often somebody may be refused. It is asked only after a request was judged and refused: what
 * bears a living key's signature never comes here, from whatever address it is.
 */
export class RefusalLimits {
  readonly #clock: Clock;
  readonly #all: Bucket;
  readonly #sources = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#all = new Bucket(ALTOGETHER, clock.monotonicMs());
  }

  /** Count a refusal. @returns 0, or after how many seconds to come back */
  count(source: string): number {
    const now = this.#clock.monotonicMs();
    const bucket = this.#sources.get(source) ?? new Bucket(PER_SOURCE, now);
    // Those who were refused last are the last to be forgotten.
    this.#sources.delete(source);
    this.#sources.set(source, bucket);
    const [oldest] = this.#sources.keys();
    if (this.#sources.size > SOURCES_MAX && oldest !== undefined) this.#sources.delete(oldest);
    return Math.max(bucket.take(now), this.#all.take(now));
  }
}

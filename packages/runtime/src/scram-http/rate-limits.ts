import type { Clock } from "../system/index.ts";

const KEYS_MAX = 10_000;

export interface Rate {
  /** How often at once. */
  readonly burst: number;
  readonly perSecond: number;
}

/** Tokens that come back with time. */
class Bucket {
  readonly #rate: Rate;
  #tokens: number;
  #at: number;

  constructor(rate: Rate, now: number) {
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

/** How often each may do something. Who did it last is the last to be forgotten. */
export class RateLimits {
  readonly #clock: Clock;
  readonly #rate: Rate;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, rate: Rate) {
    this.#clock = clock;
    this.#rate = rate;
  }

  /** Count once. @returns 0, or after how many seconds to come back */
  count(key: string): number {
    const now = this.#clock.monotonicMs();
    const bucket = this.#buckets.get(key) ?? new Bucket(this.#rate, now);
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > KEYS_MAX && oldest !== undefined) this.#buckets.delete(oldest);
    return bucket.take(now);
  }
}

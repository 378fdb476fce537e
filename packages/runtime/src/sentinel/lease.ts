import type { JsonObject } from "@sovereign/core";
import type { Clock } from "../system/index.ts";

export interface LeaseOptions {
  /** How long it is good; null where this is the only machine. */
  readonly ms: number | null;
  /** True where the database is known to be shared: nothing is admitted before the first renewal. */
  readonly required: boolean;
  readonly clock: Clock;
  /** It became good, or ended. Called once for each change. */
  readonly onChange: (live: boolean) => void;
}

/**
 * For how long this machine may work without having heard of the others. The controls renew it each
 * time that they have read all orders in the installation's log; that nobody does is enough for it to
 * end, whatever the reason.
 */
export class Lease {
  readonly #options: LeaseOptions;
  #required: boolean;
  #until = 0;
  /** Of the reading that it is good from: when it began, and whose it was. */
  #read: { readonly at: string; readonly by: number | null } | null = null;
  #told: boolean;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#required = options.required && options.ms !== null;
    this.#told = !this.#required;
  }

  /** Whether work may run. By the clock: a timer that is late changes nothing. */
  get live(): boolean {
    return !this.#required || this.#options.clock.monotonicMs() < this.#until;
  }

  /** How long it is still good; null where none is needed. */
  get leftMs(): number | null {
    if (!this.#required) return null;
    return Math.max(0, Math.round(this.#until - this.#options.clock.monotonicMs()));
  }

  /** What is told of it; nothing where none is needed. */
  get report(): JsonObject {
    const left = this.leftMs;
    if (left === null) return { lease_ms: null, lease_left_ms: null };
    return {
      lease_ms: this.#options.ms,
      lease_left_ms: left,
      lease_read_at: this.#read?.at ?? null,
      lease_read_by: this.#read?.by ?? null,
    };
  }

  /**
   * @param readAt when the reading began, of the machine's clock: what came later was not read
   * @param by the pid of who read; null where that is not known
   */
  renew(readAt: number, by: number | null = null): void {
    const { ms, clock } = this.#options;
    if (ms === null) return;
    this.#required = true;
    const now = clock.monotonicMs();
    const from = Math.min(readAt, now);
    if (from + ms > this.#until) {
      this.#until = from + ms;
      this.#read = { at: new Date(clock.now().getTime() - (now - from)).toISOString(), by };
    }
    this.#look();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #look(): void {
    const { live } = this;
    clearTimeout(this.#timer);
    if (live) {
      const left = this.#until - this.#options.clock.monotonicMs();
      // Rounded up: a timer that comes early would find it good still.
      this.#timer = setTimeout(() => {
        this.#look();
      }, Math.ceil(left));
    }
    if (live === this.#told) return;
    this.#told = live;
    this.#options.onChange(live);
  }
}

import { SovereignError } from "@sovereign/core";

/** A run that is durable, and the work on it. */
export interface Begun {
  readonly runId: string;
  /** False where it was there already, under the same key. */
  readonly isNew: boolean;
}

/**
 * Whoever has runs carried out: here this process, elsewhere workers.
 * @param begin told the run once its first entry is durable
 */
export type Work = (
  begun: (run: Begun) => void,
  signal: AbortSignal,
) => Promise<{ readonly runId: string }>;

export interface Carrier {
  /**
   * Begin work for a tenant.
   * @returns once the run is durable; the work goes on
   * @throws ERR_HTTP_BUSY where it takes no more, and what the work throws before
   */
  start(tenantId: string, work: Work): Promise<Begun>;
  /** How many are at work. */
  readonly size: number;
  /** Take no more; wait for what is at work, and after `drainMs` interrupt it: it can be resumed. */
  close(drainMs: number): Promise<void>;
}

export interface CarrierLimits {
  readonly all: number;
  readonly perTenant: number;
}

/** Carries runs out in this process, so many at once. */
export class LocalCarrier implements Carrier {
  readonly #limits: CarrierLimits;
  readonly #onEnded: (tenantId: string, runId: string | null, error: unknown) => void;
  readonly #controller = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #ofTenant = new Map<string, number>();
  #isClosed = false;

  /** @param onEnded told each end; of a run that is not known, null */
  constructor(
    limits: CarrierLimits,
    onEnded: (tenantId: string, runId: string | null, error: unknown) => void = () => undefined,
  ) {
    this.#limits = limits;
    this.#onEnded = onEnded;
  }

  get size(): number {
    return this.#running.size;
  }

  start(tenantId: string, work: Work): Promise<Begun> {
    this.#take(tenantId);
    return new Promise((resolve, reject) => {
      let known: string | null = null;
      const begun = (run: Begun): void => {
        known = run.runId;
        resolve(run);
      };
      const ended = work(begun, this.#controller.signal).then(
        ({ runId }) => {
          resolve({ runId, isNew: false });
          this.#onEnded(tenantId, runId, null);
        },
        (error: unknown) => {
          reject(error instanceof Error ? error : new Error(String(error)));
          this.#onEnded(tenantId, known, error);
        },
      );
      const held = ended.finally(() => {
        this.#running.delete(held);
        const left = this.#count(tenantId) - 1;
        if (left === 0) this.#ofTenant.delete(tenantId);
        else this.#ofTenant.set(tenantId, left);
      });
      this.#running.add(held);
    });
  }

  async close(drainMs: number): Promise<void> {
    this.#isClosed = true;
    const timer = setTimeout(() => {
      this.#controller.abort(new Error("the server ends"));
    }, drainMs);
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    clearTimeout(timer);
  }

  #count(tenantId: string): number {
    return this.#ofTenant.get(tenantId) ?? 0;
  }

  /** @throws ERR_HTTP_BUSY */
  #take(tenantId: string): void {
    const { all, perTenant } = this.#limits;
    const own = this.#count(tenantId);
    if (this.#isClosed) throw busy("The server ends.");
    if (this.#running.size >= all)
      throw busy(`Expected fewer than ${all} runs at work, found ${this.#running.size}.`);
    if (own >= perTenant)
      throw busy(`Expected fewer than ${perTenant} runs of the tenant at work, found ${own}.`);
    this.#ofTenant.set(tenantId, own + 1);
  }
}

function busy(found: string): SovereignError {
  return new SovereignError("ERR_HTTP_BUSY", `${found} Nothing was begun: try again later.`);
}

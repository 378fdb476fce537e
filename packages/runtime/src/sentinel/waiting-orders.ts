import { canonicalize, type Envelope, type ScramOrder, type ScramScope } from "@sovereign/core";
import type { Clock } from "../system/index.ts";

/** How many orders wait that one key signed first: one person can not crowd out another's. */
const PER_KEY_MAX = 4;

export type Signatory = "operator" | "architect";

/** An order that waits for its second signature. */
export interface WaitingOrder {
  readonly envelope: Envelope;
  readonly order: ScramOrder;
  readonly missing: Signatory;
  /** The key that signed first. */
  readonly signer: string;
}

/**
 * Orders with one signature, each for the time of its own window. None takes another's place: a
 * stranger who sends an older one again must not make the newer one be forgotten.
 */
export class WaitingOrders {
  readonly #clock: Clock;
  readonly #windowMs: number;
  readonly #onLapse: (order: ScramOrder) => void;
  /** By what was signed, oldest first. */
  readonly #orders = new Map<string, WaitingOrder & { readonly until: number }>();

  constructor(clock: Clock, windowMs: number, onLapse: (order: ScramOrder) => void) {
    this.#clock = clock;
    this.#windowMs = windowMs;
    this.#onLapse = onLapse;
  }

  get size(): number {
    this.#dropLapsed();
    return this.#orders.size;
  }

  /** All that wait, oldest first. */
  all(): WaitingOrder[] {
    this.#dropLapsed();
    return [...this.#orders.values()];
  }

  /** The one over the same bytes. */
  find(envelope: Envelope): WaitingOrder | null {
    this.#dropLapsed();
    return this.#orders.get(contentOf(envelope)) ?? null;
  }

  /** Let it wait; one that waits already keeps its time. */
  put(waiting: WaitingOrder): void {
    const content = contentOf(waiting.envelope);
    const until = this.#orders.get(content)?.until ?? this.#clock.monotonicMs() + this.#windowMs;
    this.#orders.set(content, { ...waiting, until });
    const ofKey = [...this.#orders].filter(([, { signer }]) => signer === waiting.signer);
    if (ofKey.length > PER_KEY_MAX) this.#orders.delete(ofKey[0]?.[0] ?? "");
  }

  remove(envelope: Envelope): void {
    this.#orders.delete(contentOf(envelope));
  }

  /** What these people asked for is done: their other orders for no more than it wait no longer. */
  fulfil(signers: readonly string[], scope: ScramScope): void {
    const done = canonicalize(scope);
    for (const [content, { signer, order }] of this.#orders) {
      const covered = scope.kind === "all" || canonicalize(order.scope) === done;
      if (covered && signers.includes(signer)) this.#orders.delete(content);
    }
  }

  #dropLapsed(): void {
    const now = this.#clock.monotonicMs();
    for (const [content, { until, order }] of this.#orders) {
      if (now < until) continue;
      this.#orders.delete(content);
      this.#onLapse(order);
    }
  }
}

function contentOf({ payloadType, payload }: Envelope): string {
  return `${payloadType} ${payload}`;
}

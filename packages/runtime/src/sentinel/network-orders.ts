import { cutText, type JsonValue, SovereignError } from "@sovereign/core";
import type { Clock } from "../system/index.ts";
import type { Journal, ClientMessage } from "../scram/index.ts";
import type { Activation } from "./activation.ts";
import { BoundedRecord } from "./bounded-journal.ts";
import type { OrderDesk } from "./order-desk.ts";

export interface NetworkOrdersOptions {
  readonly desk: OrderDesk;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly activate: (activation: Activation) => Promise<JsonValue>;
}

/** What the door to the network hands in. What strangers can cause is recorded within bounds. */
export class NetworkOrders {
  readonly #options: NetworkOrdersOptions;
  readonly #strangers: BoundedRecord;
  readonly #refused: BoundedRecord;
  readonly #waiting: BoundedRecord;

  constructor(options: NetworkOrdersOptions) {
    this.#options = options;
    const { clock, journal } = options;
    const record = (): BoundedRecord =>
      new BoundedRecord(clock, (event, data) => {
        journal.append(event, clock.now().toISOString(), data);
      });
    this.#strangers = record();
    this.#refused = record();
    this.#waiting = record();
  }

  /** @throws the order's code when it is refused */
  async present(
    { envelope, from }: Extract<ClientMessage, { t: "present" }>,
    receivedAt: number,
  ): Promise<JsonValue> {
    const decision = this.#options.desk.receive(envelope, "network", receivedAt);
    if (decision.kind === "activate") return this.#options.activate(decision.activation);
    if (decision.kind === "pending") {
      const { orderId: order_id, missing, presented, others } = decision;
      if (presented !== null) {
        const { nonce, keys } = presented;
        const data = { order_id, missing, from, presented: { nonce, keys: [...keys] } };
        this.#waiting.note("authorization.pending", data);
      }
      return { pending: { order_id, missing }, others: [...others] };
    }
    const { code, reason } = decision;
    const unknown = code === "ERR_SCRAM_ORDER_STRANGER" || code === "ERR_SCRAM_ORDER_MALFORMED";
    const record = unknown ? this.#strangers : this.#refused;
    record.note("order.refused", { code, reason: cutText(reason, 300), from });
    throw new SovereignError(code, `The order is refused: ${reason}.`);
  }

  /** What the door refused by itself, told from time to time. */
  refusals({ code, from, count }: Extract<ClientMessage, { t: "refusals" }>): JsonValue {
    this.#strangers.note("order.refused", { code, reason: "a stranger's", from }, count);
    return {};
  }
}

import { digestOf, type JsonObject, type JsonValue } from "@sovereign/core";
import type { ClientMessage } from "../scram/index.ts";
import type { Activation } from "./activation.ts";
import type { OrderDesk } from "./order-desk.ts";

export interface PeerOrdersOptions {
  readonly desk: OrderDesk;
  readonly activate: (activation: Activation) => Promise<JsonValue>;
  /** Record a refusal, within bounds. */
  readonly refused: (code: string, reason: string, more: JsonObject) => void;
}

/** What the other nodes of the installation carried out, as controls find it in the log. */
export class PeerOrders {
  readonly #options: PeerOrdersOptions;

  constructor(options: PeerOrdersOptions) {
    this.#options = options;
  }

  /** Resolves when it is carried out. What is refused is refused once, and then known. */
  async receive(
    { envelope: value, at, origin }: Extract<ClientMessage, { t: "peer" }>,
    receivedAt: number,
  ): Promise<JsonValue> {
    const { desk, activate, refused } = this.#options;
    const decision = desk.receivePeer({ value, at, origin }, receivedAt);
    if (decision.kind === "activate") return activate(decision.activation);
    if (decision.kind === "known") return { known: true };
    const { code, reason } = decision;
    refused(code, reason, { origin, peer_digest: digestOf(value) });
    return { refused: code };
  }
}

import {
  type Envelope,
  formats,
  type JsonObject,
  type KillReceipt,
  parseEnvelope,
  parseFormat,
  type ScramEvent,
} from "@sovereign/core";
import type { ScramLink } from "./sentinel-link.ts";

/** What came of an order: it waits for its second signature, or what it covers is dead. */
export type OrderOutcome =
  | { readonly kind: "pending"; readonly order_id: string; readonly missing: string }
  | {
      readonly kind: "stopped";
      readonly event: ScramEvent;
      readonly receipt: KillReceipt;
      /** The signed receipt; null where the sentinel's key was locked or missing. */
      readonly envelope: Envelope | null;
    };

/**
 * Give the sentinel an order, or the second signature of one.
 * @throws ERR_SCRAM_ORDER_MALFORMED, ERR_SCRAM_ORDER_REPLAYED, ERR_SCRAM_SENTINEL_LOST
 */
export async function giveOrder(
  link: ScramLink,
  t: "order" | "authorize",
  envelope: Envelope,
): Promise<OrderOutcome> {
  const answer = (await link.request({ t, envelope })) as JsonObject;
  if (answer["pending"] !== undefined) {
    return { kind: "pending", ...(answer["pending"] as { order_id: string; missing: string }) };
  }
  const { event, body, receipt } = answer;
  return {
    kind: "stopped",
    event: parseFormat(formats.scramEvent, event, "scram event"),
    receipt: body as unknown as KillReceipt,
    envelope: receipt === null ? null : parseEnvelope(receipt),
  };
}

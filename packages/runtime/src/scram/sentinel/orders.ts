import {
  base64Decode,
  digestOf,
  type Envelope,
  type ErrorCode,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseEnvelope,
  parseStatement,
  type ScramOrder,
  type ScramOrigin,
  type ScramReset,
  SovereignError,
} from "@sovereign/core";
import type { Clock } from "../../kernel/index.ts";
import type { Journal } from "../journal.ts";
import type { SentinelKeys } from "../key-file.ts";
import { judgeOrder, type Judgement, mergeSignatures } from "../order.ts";
import type { Activation } from "./activation.ts";

/** Who hands an order over: a stranger on a network may not stop the system by a bad one. */
export type OrderSource = "local" | "network";

/** An order that another node carried out, as this one found it in the log. */
export interface PeerOrder {
  readonly value: JsonValue;
  /** When the other node recorded that it did. */
  readonly at: string;
  readonly origin: ScramOrigin;
}

/** An order that waits for its second signature. */
interface PendingOrder {
  readonly envelope: Envelope;
  readonly order: ScramOrder;
  readonly until: number;
}

export interface OrderDeskOptions {
  readonly keys: () => SentinelKeys | null;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly windowMs: number;
}

/** What the desk decided: stop, wait for the other signature, or refuse. */
export type OrderDecision =
  | { readonly kind: "activate"; readonly activation: Activation }
  | { readonly kind: "pending"; readonly orderId: string; readonly missing: string }
  | { readonly kind: "refuse"; readonly code: ErrorCode; readonly reason: string }
  /** It was carried out, or refused, here before. */
  | { readonly kind: "known" };

/**
 * Judges orders, and holds the one that waits for its second key.
 *
 * A failure of authorisation stops everything when it comes from somebody who holds our socket,
 * because whoever tries to stop and errs is to be believed; bytes that are no order, and an order
 * that was used before, are refused.
 */
export class OrderDesk {
  readonly #options: OrderDeskOptions;
  readonly #used: Set<string>;
  /** Digests of what came from other nodes and was refused. */
  readonly #refused: Set<string>;
  #pending: PendingOrder | null = null;

  constructor(options: OrderDeskOptions) {
    this.#options = options;
    this.#used = textsOf(options.journal, "nonce");
    this.#refused = textsOf(options.journal, "peer_digest");
  }

  get waiting(): boolean {
    this.#dropLapsed();
    return this.#pending !== null;
  }

  /** The order that waits, for the second signer to look at and sign. */
  pending(): Envelope | null {
    this.#dropLapsed();
    return this.#pending?.envelope ?? null;
  }

  /** Both signatures at once. @param value untrusted */
  receive(value: JsonValue, source: OrderSource, receivedAt: number): OrderDecision {
    const envelope = readEnvelope(value);
    if (envelope === null) return malformed();
    return this.#decide(envelope, this.#judge("scram-order", envelope), source, receivedAt);
  }

  /** One signature, or the second of two. @param value untrusted */
  authorize(value: JsonValue, source: OrderSource, receivedAt: number): OrderDecision {
    const first = readEnvelope(value);
    if (first === null) return malformed();
    const waiting = this.pending();
    const envelope = waiting === null ? first : (mergeSignatures(waiting, first) ?? first);
    const judged = this.#judge("scram-order", envelope);
    const one = judged.operator !== null || judged.architect !== null;
    if (judged.order !== null && judged.code === "ERR_SCRAM_ORDER_SIGNATURE" && one) {
      const { clock, windowMs } = this.#options;
      const until = this.#pending?.until ?? clock.monotonicMs() + windowMs;
      this.#pending = { envelope, order: judged.order, until };
      const missing = judged.operator === null ? "operator" : "architect";
      return { kind: "pending", orderId: judged.order.order_id, missing };
    }
    return this.#decide(envelope, judged, source, receivedAt);
  }

  /**
   * What another node carried out is carried out here, once, if two keys of the installation signed
   * it. The log is believed in one thing alone, when that was: an order that was good then is good
   * now, however long this node was away, and so is one by a key that was withdrawn since. Whatever
   * else is wrong with it, nothing is stopped: whoever writes to the database is a stranger here.
   *
   * @param peer untrusted
   */
  receivePeer({ value, at, origin }: PeerOrder, receivedAt: number): OrderDecision {
    const digest = digestOf(value);
    if (this.#refused.has(digest)) return { kind: "known" };
    const envelope = readEnvelope(value);
    const decision =
      envelope === null
        ? malformed()
        : this.#decide(envelope, this.#judgePeer(envelope, at), "network", receivedAt);
    if (decision.kind === "refuse") {
      if (decision.code === "ERR_SCRAM_ORDER_REPLAYED") return { kind: "known" };
      this.#refused.add(digest);
    }
    if (decision.kind !== "activate") return decision;
    return { kind: "activate", activation: { ...decision.activation, trigger: "peer", origin } };
  }

  #judgePeer(envelope: Envelope, at: string): Judgement<ScramOrder> {
    const known = this.#options.keys();
    if (known === null) return this.#withoutKeys("scram-order", envelope);
    const later = known.times.findIndex((time) => time > at);
    const then = later === -1 ? known.keys.count : later;
    const context = { ...known, now: at, usedNonces: this.#used };
    const judged = judgeOrder("scram-order", envelope, context);
    if (judged.code !== "ERR_SCRAM_ORDER_KEY") return judged;
    return judgeOrder("scram-order", envelope, { ...context, epoch: then });
  }

  /** A reset is never taken in doubt: it is authorised, or refused. */
  reset(value: JsonValue): { envelope: Envelope; reset: ScramReset } {
    const envelope = readEnvelope(value);
    if (envelope === null) throw refusal(malformed());
    const { order, code, reason } = this.#judge("scram-reset", envelope);
    if (order !== null && code === null) return { envelope, reset: order };
    throw refusal({ code: code ?? "ERR_SCRAM_ORDER_MALFORMED", reason: reason ?? "no reset" });
  }

  /** From here on the nonce is used, whatever becomes of the order. */
  use(nonce: string): void {
    this.#used.add(nonce);
  }

  #decide(
    envelope: Envelope,
    judged: Judgement<ScramOrder>,
    source: OrderSource,
    receivedAt: number,
  ): OrderDecision {
    const { order, code, operator, architect } = judged;
    const reason = judged.reason ?? "";
    if (order === null)
      return { kind: "refuse", code: code ?? "ERR_SCRAM_ORDER_MALFORMED", reason };
    if (code === "ERR_SCRAM_ORDER_REPLAYED") return { kind: "refuse", code, reason };
    if (code !== null && source === "network") return { kind: "refuse", code, reason };
    this.#pending = null;
    this.use(order.nonce);
    const failed = code !== null;
    const activation: Activation = {
      // Whose work a failed order may stop is as unproved as the order: it stops everything.
      scope: failed ? { kind: "all" } : order.scope,
      reason: order.reason,
      trigger: failed ? "refused_order" : "order",
      authorized: !failed,
      refusal: failed ? `${code}: ${reason}`.slice(0, 500) : null,
      order: envelope,
      origin: null,
      nonce: order.nonce,
      operator,
      architect,
      metadata: order.metadata,
      receivedAt,
    };
    return { kind: "activate", activation };
  }

  #judge(kind: "scram-order", envelope: Envelope): Judgement<ScramOrder>;
  #judge(kind: "scram-reset", envelope: Envelope): Judgement<ScramReset>;
  #judge(
    kind: "scram-order" | "scram-reset",
    envelope: Envelope,
  ): Judgement<ScramOrder> | Judgement<ScramReset> {
    const known = this.#options.keys();
    if (known === null) return this.#withoutKeys(kind, envelope);
    const context = {
      ...known,
      now: this.#options.clock.now().toISOString(),
      usedNonces: this.#used,
    };
    return kind === "scram-order"
      ? judgeOrder(kind, envelope, context)
      : judgeOrder(kind, envelope, context);
  }

  /** An installation without keys has nobody who may sign; a stop is still a stop. */
  #withoutKeys(kind: "scram-order" | "scram-reset", envelope: Envelope): Judgement<never> {
    const none = { operator: null, architect: null };
    try {
      const order = parseStatement(base64Decode(envelope.payload), kind).predicate as never;
      const reason = "no operator and no architect is enrolled here";
      return { order, ...none, code: "ERR_SCRAM_ORDER_SIGNATURE", reason };
    } catch (error) {
      const reason = isSovereignError(error) ? error.message : "it cannot be read";
      return { order: null, ...none, code: "ERR_SCRAM_ORDER_MALFORMED", reason };
    }
  }

  #dropLapsed(): void {
    const { clock, journal } = this.#options;
    if (this.#pending === null || clock.monotonicMs() < this.#pending.until) return;
    const data: JsonObject = { order_id: this.#pending.order.order_id };
    this.#pending = null;
    journal.append("authorization.lapsed", clock.now().toISOString(), data);
  }
}

function textsOf({ lines }: Journal, name: string): Set<string> {
  const texts = lines.map(({ data }) => data[name]);
  return new Set(texts.filter((text) => typeof text === "string"));
}

function readEnvelope(value: JsonValue): Envelope | null {
  try {
    return parseEnvelope(value);
  } catch {
    return null;
  }
}

function malformed(): { kind: "refuse"; code: ErrorCode; reason: string } {
  const reason = "expected a signed envelope with an order of the kill switch";
  return { kind: "refuse", code: "ERR_SCRAM_ORDER_MALFORMED", reason };
}

function refusal({ code, reason }: { code: ErrorCode; reason: string }): SovereignError {
  return new SovereignError(code, `Refused: ${reason}.`);
}

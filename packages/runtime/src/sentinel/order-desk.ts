import {
  cutText,
  base64Decode,
  digestOf,
  type Envelope,
  type ErrorCode,
  fields,
  isSameHolder,
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
import { z } from "zod";
import type { Clock } from "../system/index.ts";
import {
  type Journal,
  type SentinelKeys,
  judgeOrder,
  type Judgement,
  mergeSignatures,
  type OrderSigner,
  orderSigners,
} from "../scram/index.ts";
import type { Activation } from "./activation.ts";
import { PresentedSignatures } from "./presented-signatures.ts";
import { type Signatory, WaitingOrders } from "./waiting-orders.ts";

/** Who hands an order over: a stranger on a network may not stop the system by a bad one. */
export type OrderSource = "local" | "network";

/** An order that another node carried out, as this one found it in the log. */
export interface PeerOrder {
  readonly value: JsonValue;
  /** When the other node recorded that it did. */
  readonly at: string;
  readonly origin: ScramOrigin;
}

const presentedRecord = z.object({ nonce: fields.nonce, keys: z.array(fields.keyId) });

/** More signatures than this are no order over a network: each may cost a verification. */
const SIGNATURES_MAX = 4;
/** How far outside its time an order from a network still proves that its signers are at work. */
const RECENT_MS = 3_600_000;

export interface OrderDeskOptions {
  readonly keys: () => SentinelKeys | null;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly windowMs: number;
}

/** What the desk decided: stop, wait for the other signature, or refuse. */
export type OrderDecision =
  | { readonly kind: "activate"; readonly activation: Activation }
  | PendingDecision
  | Refusal;

interface PendingDecision {
  readonly kind: "pending";
  readonly orderId: string;
  readonly missing: Signatory;
  /** What is to be recorded, so that these bytes open no window again. Null for known ones. */
  readonly presented: { readonly nonce: string; readonly keys: readonly string[] } | null;
  /** Other orders that wait for whoever signed this one. */
  readonly others: readonly Envelope[];
}

interface Refusal {
  readonly kind: "refuse";
  readonly code: ErrorCode;
  readonly reason: string;
}

/** What came from another node: carried out, refused, or either of them here before. */
export type PeerDecision =
  | { readonly kind: "activate"; readonly activation: Activation }
  | { readonly kind: "known" }
  | Refusal;

type Judged = Judgement<ScramOrder>;

/**
 * Judges orders, and holds those that wait for their second key.
 *
 * A failure of authorisation stops everything when it comes from somebody who holds our socket,
 * because whoever tries to stop and errs is to be believed; bytes that are no order, and an order
 * that was used before, are refused. Over a network the signatures alone say who is believed.
 */
export class OrderDesk {
  readonly #options: OrderDeskOptions;
  readonly #used: Set<string>;
  /** Digests of what came from other nodes and was refused. */
  readonly #refused: Set<string>;
  readonly #presented = new PresentedSignatures();
  readonly #waiting: WaitingOrders;

  constructor(options: OrderDeskOptions) {
    this.#options = options;
    const { journal, clock, windowMs } = options;
    const recorded = journal.lines.map(({ data }) => data);
    this.#used = textsOf(recorded, "nonce");
    this.#refused = textsOf(recorded, "peer_digest");
    for (const { presented } of recorded) {
      const known = presentedRecord.safeParse(presented);
      if (known.success) this.#presented.add(known.data.nonce, known.data.keys);
    }
    this.#waiting = new WaitingOrders(clock, windowMs, ({ order_id }) => {
      try {
        journal.append("authorization.lapsed", clock.now().toISOString(), { order_id });
      } catch {
        // A full disk must not keep the order that is being judged from being carried out.
      }
    });
  }

  get waiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** The newest order that waits, for the second signer to look at and sign. */
  pending(): Envelope | null {
    return this.#waiting.all().at(-1)?.envelope ?? null;
  }

  /** Both signatures at once. @param value untrusted */
  receive(value: JsonValue, source: OrderSource, receivedAt: number): OrderDecision {
    const envelope = readEnvelope(value);
    if (envelope === null) return malformed();
    if (source === "network") return this.#fromNetwork(envelope, receivedAt);
    return this.#decide(envelope, this.#judge("scram-order", envelope), receivedAt);
  }

  /** One signature, or the second of two. @param value untrusted */
  authorize(value: JsonValue, source: OrderSource, receivedAt: number): OrderDecision {
    const first = readEnvelope(value);
    if (first === null) return malformed();
    if (source === "network") return this.#fromNetwork(first, receivedAt);
    const waiting = this.#waiting.find(first);
    const envelope = waiting === null ? first : (mergeSignatures(waiting.envelope, first) ?? first);
    const judged = this.#judge("scram-order", envelope);
    const signer = judged.operator ?? judged.architect;
    if (judged.order === null || judged.code !== "ERR_SCRAM_ORDER_SIGNATURE" || signer === null) {
      return this.#decide(envelope, judged, receivedAt);
    }
    const missing = judged.operator === null ? "operator" : "architect";
    const { order } = judged;
    this.#waiting.put({ envelope, order, missing, signer });
    return { kind: "pending", orderId: order.order_id, missing, presented: null, others: [] };
  }

  /**
   * What another node carried out is carried out here, once, if two keys of the installation signed
   * it. The log is believed in one thing alone, when that was: an order that was good then is good
   * now, however long this node was away, and so is one by a key that was withdrawn since. Whatever
   * else is wrong with it, nothing is stopped: whoever writes to the database is a stranger here.
   *
   * @param peer untrusted
   */
  receivePeer({ value, at, origin }: PeerOrder, receivedAt: number): PeerDecision {
    const digest = digestOf(value);
    if (this.#refused.has(digest)) return { kind: "known" };
    const envelope = readEnvelope(value);
    const judged = envelope === null ? null : this.#judgePeer(envelope, at);
    if (judged?.code === "ERR_SCRAM_ORDER_REPLAYED") return { kind: "known" };
    if (envelope !== null && judged?.code === null) {
      const decision = this.#decide(envelope, judged, receivedAt);
      if (decision.kind !== "activate") return decision;
      return { kind: "activate", activation: { ...decision.activation, trigger: "peer", origin } };
    }
    this.#refused.add(digest);
    return refusalOf(judged);
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

  /**
   * Who sends it is not known: it may be a stranger with bytes that others signed. So signatures
   * are all that counts, and only those that nobody but their holder can have brought here:
   *
   * - none of a living key: a stranger, whatever the bytes say;
   * - used, for another installation, or long outside its time: proves nothing about today, here;
   * - two people's, one of them living and new here, and still not authorised: believed, stops;
   * - one person's: waits. What anybody can append, such as a broken second one, does not count.
   */
  #fromNetwork(sent: Envelope, receivedAt: number): OrderDecision {
    if (sent.signatures.length > SIGNATURES_MAX) return malformed();
    const signers = this.#signersOf(sent);
    if (!signers.some(({ living }) => living)) return stranger();
    const held = keepSignatures(sent, (keyid) => signers.some(({ keyId }) => keyId === keyid));
    const waiting = this.#waiting.find(held);
    const envelope = waiting === null ? held : addSignatures(waiting.envelope, held);
    const judged = this.#judge("scram-order", envelope);
    const { order, code } = judged;
    if (order === null || code === null || code === "ERR_SCRAM_ORDER_REPLAYED") {
      return this.#decide(envelope, judged, receivedAt);
    }
    if (code === "ERR_SCRAM_ORDER_INSTALLATION") {
      return { kind: "refuse", code, reason: "it is for another installation" };
    }
    const fresh = signers.filter(
      ({ living, keyId }) => living && this.#presented.isNew(order.nonce, keyId),
    );
    if (fresh.length > 0 && this.#isOfTwo(envelope) && this.#isRecent(order)) {
      return this.#decide(envelope, judged, receivedAt);
    }
    if (code === "ERR_SCRAM_ORDER_EXPIRED") {
      return { kind: "refuse", code, reason: String(judged.reason) };
    }
    return this.#wait(held, order, signers, fresh);
  }

  #isOfTwo(envelope: Envelope): boolean {
    const [first, ...rest] = this.#signersOf(envelope);
    return first !== undefined && rest.some(({ holder }) => !isSameHolder(holder, first.holder));
  }

  /** One person's order waits, once; bytes that were here before open no window again. */
  #wait(
    held: Envelope,
    order: ScramOrder,
    signers: readonly OrderSigner[],
    fresh: readonly OrderSigner[],
  ): OrderDecision {
    const { nonce, order_id: orderId } = order;
    const [signer] = fresh;
    if (signer !== undefined) {
      const missing = missingBeside(signer);
      const envelope = keepSignatures(held, (keyid) => keyid === signer.keyId);
      this.#waiting.put({ envelope, order, missing, signer: signer.keyId });
      this.#presented.add(nonce, [signer.keyId]);
      const presented = { nonce, keys: [signer.keyId] };
      return {
        kind: "pending",
        orderId,
        missing,
        presented,
        others: this.#othersFor(order, fresh),
      };
    }
    const waiting = this.#waiting.find(held);
    if (waiting === null) {
      const reason = "its one signature was here before, and the other did not come in time";
      return { kind: "refuse", code: "ERR_SCRAM_ORDER_REPLAYED", reason };
    }
    const { missing } = waiting;
    const others = this.#othersFor(order, signers);
    return { kind: "pending", orderId, missing, presented: null, others };
  }

  /** Whoever signs an order of their own is told of those that wait for them. */
  #othersFor(order: ScramOrder, signers: readonly OrderSigner[]): Envelope[] {
    return this.#waiting
      .all()
      .filter(({ missing }) => signers.some(({ purpose, living }) => living && purpose === missing))
      .filter((waiting) => waiting.order.nonce !== order.nonce)
      .map(({ envelope }) => envelope);
  }

  #signersOf(envelope: Envelope): OrderSigner[] {
    const known = this.#options.keys();
    const now = this.#options.clock.now().toISOString();
    return known === null ? [] : orderSigners(envelope, known.keys, now);
  }

  #isRecent({ issued_at, expires_at }: ScramOrder): boolean {
    const now = this.#options.clock.now().getTime();
    return now > Date.parse(issued_at) - RECENT_MS && now < Date.parse(expires_at) + RECENT_MS;
  }

  #decide(
    envelope: Envelope,
    judged: Judged,
    receivedAt: number,
  ): Extract<OrderDecision, { kind: "activate" }> | Refusal {
    const { order, code, operator, architect } = judged;
    const reason = judged.reason ?? "";
    if (order === null)
      return { kind: "refuse", code: code ?? "ERR_SCRAM_ORDER_MALFORMED", reason };
    if (code === "ERR_SCRAM_ORDER_REPLAYED") return { kind: "refuse", code, reason };
    this.#waiting.remove(envelope);
    this.use(order.nonce);
    const failed = code !== null;
    if (operator !== null && architect !== null && !failed) {
      this.#waiting.fulfil([operator, architect], order.scope);
    }
    const activation: Activation = {
      // Whose work a failed order may stop is as unproved as the order: it stops everything.
      scope: failed ? { kind: "all" } : order.scope,
      reason: order.reason,
      trigger: failed ? "refused_order" : "order",
      authorized: !failed,
      refusal: failed ? cutText(`${code}: ${reason}`, 500) : null,
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
}

function textsOf(recorded: readonly JsonObject[], name: string): Set<string> {
  const texts = recorded.map((data) => data[name]);
  return new Set(texts.filter((text) => typeof text === "string"));
}

function readEnvelope(value: JsonValue): Envelope | null {
  try {
    return parseEnvelope(value);
  } catch {
    return null;
  }
}

function malformed(): Refusal {
  const reason = "expected a signed envelope with an order of the kill switch";
  return { kind: "refuse", code: "ERR_SCRAM_ORDER_MALFORMED", reason };
}

/** Why what was judged is refused; null for what could not be. */
function refusalOf(judged: Judged | null): Refusal {
  const { code = null, reason = null } = judged ?? {};
  return code === null ? malformed() : { kind: "refuse", code, reason: reason ?? "" };
}

/** One answer to all strangers: what else is wrong is not for them to know. */
function stranger(): Refusal {
  const reason = "expected the signature of an operator or an architect who is enrolled here";
  return { kind: "refuse", code: "ERR_SCRAM_ORDER_STRANGER", reason };
}

function missingBeside({ purpose }: OrderSigner): Signatory {
  return purpose === "operator" ? "architect" : "operator";
}

function keepSignatures(envelope: Envelope, keep: (keyid: string) => boolean): Envelope {
  return { ...envelope, signatures: envelope.signatures.filter(({ keyid }) => keep(keyid)) };
}

/** One signature of each key is enough; a key can make as many as it likes. */
function addSignatures(envelope: Envelope, more: Envelope): Envelope {
  const known = new Set(envelope.signatures.map(({ keyid }) => keyid));
  const added = more.signatures.filter(({ keyid }) => !known.has(keyid));
  return { ...envelope, signatures: [...envelope.signatures, ...added] };
}

function refusal({ code, reason }: { code: ErrorCode; reason: string }): SovereignError {
  return new SovereignError(code, `Refused: ${reason}.`);
}

import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  base64Decode,
  canonicalize,
  digestOf,
  type Envelope,
  formats,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type KillReceipt,
  parseEnvelope,
  parseFormat,
  parseStatement,
  type ScramEvent,
  type ScramOrder,
  type Signer,
  SovereignError,
  verifyEnvelope,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import type { ScramOutcome, ScramRemote } from "./scram-reports.ts";
import { type OrderServer, postOrder } from "../../scram-http/index.ts";
import { systemClock } from "../../system/index.ts";
import { KnownKeys, mergeSignatures } from "../../scram/index.ts";
import { type OrderContent, issueScramOrder, signScramOrder } from "./issue-order.ts";

/** An order that somebody else wrote is signed only where it ends within this time. */
const SIGNED_FOR_MS = 3_600_000;

type Stopped = Extract<ScramOutcome, { kind: "stopped" }>;

/** The server of the kill switch of another machine. */
export class RemoteScram {
  readonly #home: string;
  readonly #server: OrderServer;
  /** For which installation its orders are; null for that of the data folder here. */
  readonly #installation: string | null;

  /** @throws ERR_HTTP_CONFIG, ERR_FILE_UNREADABLE */
  constructor(home: string, remote: ScramRemote) {
    const { url, ca, clientCert, clientKey, installation } = remote;
    if ((clientCert === null) !== (clientKey === null)) {
      const message = "Expected both --client-cert and --client-key.";
      throw new SovereignError("ERR_HTTP_CONFIG", message);
    }
    const identity =
      clientCert === null || clientKey === null
        ? null
        : { cert: readNamed(clientCert), key: readNamed(clientKey) };
    this.#home = home;
    this.#server = { url, ca: ca === null ? null : readNamed(ca), identity };
    this.#installation = installation;
  }

  /** A new order for that installation. @throws ERR_HTTP_CONFIG */
  issue(content: OrderContent, signers: readonly Signer[]): Envelope {
    const installation = this.#installation;
    if (installation === null && !existsSync(join(this.#home, "installation.json"))) {
      const message = `Expected --installation with the server's installation (sovereign status tells it): there is none in ${this.#home}.`;
      throw new SovereignError("ERR_HTTP_CONFIG", message);
    }
    return issueScramOrder(this.#home, { ...content, installation }, signers);
  }

  /** Send an order. @throws what the server refuses with, and as for its answers */
  async send(envelope: Envelope): Promise<ScramOutcome> {
    return this.#read(await postOrder(this.#server, envelope), envelope);
  }

  /**
   * As one of two: send an order of one's own, by whose signature the server knows one, and sign
   * the order that waits there instead, where it stops the same.
   */
  async authorize(content: OrderContent, signer: Signer): Promise<ScramOutcome> {
    const own = this.issue(content, [signer]);
    const answer = await postOrder(this.#server, own);
    const waiting = Array.isArray(answer["waiting"]) ? answer["waiting"] : [];
    const other = waiting.flatMap((value) => this.#same(value, own) ?? []).at(-1);
    if (other === undefined) return this.#read(answer, own);
    const mine = signScramOrder(orderOf(other), [signer]);
    const both = mergeSignatures(other, mine);
    if (both === null) return this.#read(answer, own);
    return this.send(both);
  }

  /** What the server says others signed: looked at before it is signed. Null where it differs. */
  #same(value: JsonValue, own: Envelope): Envelope | null {
    try {
      const other = parseEnvelope(value);
      const [theirs, mine] = [orderOf(other), orderOf(own)];
      const left = Date.parse(theirs.expires_at) - systemClock.now().getTime();
      const same =
        theirs.installation_id === mine.installation_id &&
        canonicalize(theirs.scope) === canonicalize(mine.scope);
      return same && left > 0 && left < SIGNED_FOR_MS ? other : null;
    } catch (error) {
      if (isSovereignError(error)) return null;
      throw error;
    }
  }

  #read(answer: JsonObject, sent: Envelope): ScramOutcome {
    const { kind, order_id, missing } = answer;
    if (kind === "pending" && typeof order_id === "string" && typeof missing === "string") {
      return { kind, order_id, missing };
    }
    try {
      const outcome: Stopped = {
        kind: "stopped",
        event: parseFormat(formats.scramEvent, answer["event"], "scram event"),
        receipt: parseFormat(formats.killReceipt, answer["receipt"], "kill receipt"),
        envelope: answer["envelope"] === null ? null : parseEnvelope(answer["envelope"]),
      };
      return { ...outcome, checked: this.#check(outcome, sent) };
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : "it cannot be read";
      throw forged(this.#server.url, why, cause);
    }
  }

  /**
   * Whether the sentinel's signature was checked: that needs its key, which a data folder of the
   * same installation knows. What contradicts itself is refused anyway.
   */
  #check({ event, receipt, envelope }: Stopped, sent: Envelope): boolean {
    holdTogether(event, receipt, envelope, sent);
    const known = new KnownKeys(join(this.#home, "scram")).current();
    if (envelope === null || known?.installationId !== receipt.installation_id) return false;
    const sentinels = known.keys.windows.filter(({ record }) => record.purpose === "sentinel");
    verifyEnvelope(
      envelope,
      sentinels.map(({ key }) => key),
    );
    return true;
  }
}

/** The receipt is the signed one, of this order; the event is of that receipt. */
function holdTogether(
  event: ScramEvent,
  receipt: KillReceipt,
  envelope: Envelope | null,
  sent: Envelope,
): void {
  const { content_hash, ...content } = event;
  const same = digestOf(content) === content_hash && event.event_id === receipt.event_id;
  if (!same) throw new Error("the event is not what its content hash says");
  if (event.receipt_digest !== digestOf(envelope ?? receipt)) {
    throw new Error("the receipt is not the event's");
  }
  if (envelope !== null) {
    const signed = parseStatement(base64Decode(envelope.payload), "kill-receipt").predicate;
    if (canonicalize(signed) !== canonicalize(receipt))
      throw new Error("another receipt is signed");
  }
  if (receipt.order_digest !== digestOf(sent)) throw new Error("the receipt is of another order");
}

function orderOf(envelope: Envelope): ScramOrder {
  return parseStatement(base64Decode(envelope.payload), "scram-order").predicate;
}

function forged(url: string, why: string, cause: unknown): SovereignError {
  const next = "Whether it stopped is not known. Look on that machine with: sovereign scram status";
  const message = `The answer of ${url} proves nothing: ${why}. ${next}`;
  return new SovereignError("ERR_HTTP_ANSWER", message, {}, cause);
}

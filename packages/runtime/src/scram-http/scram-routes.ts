import type { IncomingMessage } from "node:http";
import {
  cutText,
  digestOf,
  type Envelope,
  type ErrorCode,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  parseEnvelope,
  parseStrictJson,
  type ScramState,
  SovereignError,
  STATEMENT_PAYLOAD_TYPE,
  utf8Encode,
} from "@sovereign/core";
import type { Clock } from "../system/index.ts";
import {
  type HeldLink,
  type KnownKeys,
  type LatchedStop,
  type OrderSigner,
  orderSigners,
  type ScramLink,
} from "../scram/index.ts";
import { type Answer, problemOf } from "./answer.ts";
import { sourceOf } from "./connections.ts";
import { RateLimits } from "./rate-limits.ts";
import { BODY_BYTES_MAX, readBody } from "./request.ts";

/** How long an order waits for a sentinel that is just being started. */
const SENTINEL_MS = 5000;
/** However many ask, the sentinel is asked for its state so often at most. */
const STATUS_MS = 200;
/** How often the sentinel is told of strangers. */
const REPORT_MS = 1000;
const DEPTH_MAX = 16;
/** How often one address, and all together, may be refused before they are told to wait. */
const REFUSALS = { burst: 10, perSecond: 1 };
const ALL_REFUSALS = { burst: 100, perSecond: 20 };
/** How often the same order with the same signatures is handed on: it may be an eavesdropper's. */
const REPEATS = { burst: 5, perSecond: 1 };
const TOO_MANY_REFUSED =
  "Too many refused requests came from this address: wait as Retry-After says.";
/** Of the right form, so that it is verified, and good for nothing. */
const SIG = `${"A".repeat(86)}==`;

export interface ScramDoorOptions {
  readonly link: HeldLink;
  readonly keys: KnownKeys;
  readonly clock: Clock;
  /** What a monitor is told, from the sentinel's state; null where there is no sentinel. */
  readonly health: (status: ScramStatus | null) => Promise<JsonObject>;
  /** Told after every stop that came through this door. */
  readonly onStopped: (outcome: JsonObject) => void;
}

/** Strangers that the sentinel was not told of yet. */
interface Refused {
  readonly code: ErrorCode;
  readonly from: string;
  readonly count: number;
}

/** An order that somebody signed who is enrolled, and whose signatures hold. */
interface KnownOrder {
  readonly envelope: Envelope;
  readonly signers: readonly OrderSigner[];
}

/** What of the sentinel's state matters here. */
export interface ScramStatus {
  readonly state: ScramState;
  readonly stops: readonly LatchedStop[];
}

/**
 * Orders and questions from a network, for the sentinel. It decides nothing: it keeps from the
 * sentinel what bears no living key's signature, and hands on the rest as it came.
 */
export class ScramDoor {
  readonly #options: ScramDoorOptions;
  readonly #refusals: RateLimits;
  readonly #allRefusals: RateLimits;
  readonly #repeats: RateLimits;
  #status: { readonly at: number; readonly found: Promise<ScramStatus | null> } | null = null;
  #unreported: Refused | null = null;

  constructor(options: ScramDoorOptions) {
    this.#options = options;
    this.#refusals = new RateLimits(options.clock, REFUSALS);
    this.#allRefusals = new RateLimits(options.clock, ALL_REFUSALS);
    this.#repeats = new RateLimits(options.clock, REPEATS);
  }

  /**
   * Go the way of an order that is refused at its end. One that must wait for weeks keeps its code
   * compiled in this way.
   */
  rehearse(): void {
    const signatories = this.#options.keys.signatories().slice(0, 2);
    const signatures = signatories.map(({ record }) => ({ keyid: record.key_id, sig: SIG }));
    const envelope = { payloadType: STATEMENT_PAYLOAD_TYPE, payload: "e30=", signatures };
    try {
      this.#known(utf8Encode(JSON.stringify(envelope)));
    } catch {
      // A signature over something else, by nobody.
    }
  }

  /** @param keep called when the request is in the sentinel's hands */
  async order(request: IncomingMessage, keep: () => void): Promise<Answer> {
    const source = sourceOf(request.socket);
    let order: KnownOrder;
    try {
      order = this.#known(await readBody(request));
    } catch (error) {
      if (isSovereignError(error)) this.#report(error.code, source);
      throw error;
    }
    this.#limitRepeats(order);
    keep();
    const link = await this.#options.link.within(SENTINEL_MS);
    if (link === null) throw noSentinel();
    return this.#present(link, order.envelope, source);
  }

  /**
   * What anybody may know: whether it is tripped, since when, and by which events.
   * @throws ERR_SCRAM_SENTINEL_LOST
   */
  async status(): Promise<Answer> {
    const status = await this.#ask();
    if (status === null) throw noSentinel();
    const stops = status.stops.map(({ event_id, tripped_at }) => ({ event_id, tripped_at }));
    return { status: 200, body: { state: status.state, stops } };
  }

  async health(): Promise<Answer> {
    const body = await this.#options.health(await this.#ask());
    return { status: body["runner_status"] === "HEALTHY" ? 200 : 503, body };
  }

  /** The answer to what was refused; whoever is refused too often is told to wait. */
  refuse(error: unknown, request: IncomingMessage): Answer {
    const answer = problemOf(error);
    if (answer.status >= 500) return { ...answer, headers: { "retry-after": "1" } };
    // An authenticated order is always told what became of it.
    const code = isSovereignError(error) ? error.code : null;
    if (code !== null && isAuthenticated(code)) return answer;
    const source = sourceOf(request.socket);
    const seconds = Math.max(this.#refusals.count(source), this.#allRefusals.count("all"));
    if (code === "ERR_HTTP_RATE") return { ...answer, headers: { "retry-after": "1" } };
    if (seconds === 0) return answer;
    const text = `The request was refused (${String(code)}). ${TOO_MANY_REFUSED}`;
    const limited = problemOf(new SovereignError("ERR_HTTP_RATE", text));
    return { ...limited, headers: { "retry-after": String(seconds) } };
  }

  /** An envelope that somebody signed who is enrolled here. @throws for all others */
  #known(bytes: Uint8Array): KnownOrder {
    let envelope: Envelope;
    try {
      const limits = { bytesMax: BODY_BYTES_MAX, depthMax: DEPTH_MAX };
      envelope = parseEnvelope(parseStrictJson(bytes, limits));
    } catch (cause) {
      const why = isSovereignError(cause) ? cause.message : "unreadable";
      const message = `Expected a signed envelope with an order of the kill switch: ${why}`;
      throw new SovereignError("ERR_SCRAM_ORDER_MALFORMED", cutText(message, 300), {}, cause);
    }
    const known = this.#options.keys.current();
    const now = this.#options.clock.now().toISOString();
    const signers = known === null ? [] : orderSigners(envelope, known.keys, now);
    if (signers.some(({ living }) => living)) return { envelope, signers };
    const message =
      "Expected the signature of an operator or an architect who is enrolled here, named by its keyid.";
    throw new SovereignError("ERR_SCRAM_ORDER_STRANGER", message);
  }

  /**
   * What others signed can be sent again by who has seen it, and would cost the sentinel more than
   * strangers do. Who has a signature of their own to add is not limited: that is another order.
   */
  #limitRepeats({ envelope, signers }: KnownOrder): void {
    const keys = signers.map(({ keyId }) => keyId).sort();
    const { payloadType, payload } = envelope;
    if (this.#repeats.count(digestOf([payloadType, payload, keys])) === 0) return;
    const text = "The same order with the same signatures was sent too often.";
    throw new SovereignError("ERR_HTTP_RATE", text);
  }

  async #present(link: ScramLink, envelope: Envelope, from: string): Promise<Answer> {
    const found = (await link.request({ t: "present", envelope, from })) as JsonObject;
    const { pending, others } = found as { pending?: JsonObject; others?: JsonValue };
    if (pending !== undefined) {
      return { status: 202, body: { kind: "pending", ...pending, waiting: others ?? [] } };
    }
    const { event, body: receipt, receipt: signed } = found as Record<string, JsonObject>;
    const outcome = {
      kind: "stopped",
      event: event ?? null,
      receipt: receipt ?? null,
      envelope: signed ?? null,
    };
    this.#status = null;
    this.#options.onStopped(outcome);
    return { status: 200, body: outcome };
  }

  #ask(): Promise<ScramStatus | null> {
    const { clock, link } = this.#options;
    const now = clock.monotonicMs();
    if (this.#status !== null && now - this.#status.at < STATUS_MS) return this.#status.found;
    const asked = link.current?.request({ t: "status" }) ?? Promise.resolve(null);
    const found = asked.then(
      (status) => status as unknown as ScramStatus | null,
      () => null,
    );
    this.#status = { at: now, found };
    return found;
  }

  /** Strangers are told of together, so that a flood of them costs the sentinel nothing. */
  #report(code: ErrorCode, from: string, more = 1): void {
    if (this.#unreported !== null) {
      this.#unreported = { code, from, count: this.#unreported.count + more };
      return;
    }
    this.#unreported = { code, from, count: more };
    setTimeout(() => {
      const report = this.#unreported;
      this.#unreported = null;
      if (report !== null) void this.#tellRefused(report);
    }, REPORT_MS).unref();
  }

  /** What a sentinel that is away did not hear of is told to the next one. */
  async #tellRefused(report: Refused): Promise<void> {
    try {
      const link = this.#options.link.current;
      if (link === null) throw noSentinel();
      await link.request({ t: "refusals", ...report });
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      this.#report(report.code, report.from, report.count);
    }
  }
}

function noSentinel(): SovereignError {
  return new SovereignError("ERR_SCRAM_SENTINEL_LOST", "No sentinel answers.");
}

/** Refusals that only a living key's signature can lead to. */
function isAuthenticated(code: ErrorCode): boolean {
  return code.startsWith("ERR_SCRAM_ORDER_") && !STRANGERS.has(code);
}
const STRANGERS = new Set<ErrorCode>(["ERR_SCRAM_ORDER_STRANGER", "ERR_SCRAM_ORDER_MALFORMED"]);

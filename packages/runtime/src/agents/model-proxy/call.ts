import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  cutText,
  type ErrorCode,
  isSovereignError,
  type ModelCallEnd,
  type ModelUsage,
  SovereignError,
  sha256Hex,
} from "@sovereign/core";
import { answerReader, isObject } from "./answer-readers.ts";
import type { ModelCalls } from "./model-calls.ts";
import type { ProxyLimits } from "./limits.ts";
import { readAll, sendError, sendJson, writeOut } from "./messages.ts";
import { EventSplitter, eventJson, type StreamEvent } from "./sse.ts";
import { type Asked, passedHeaders, type Upstream } from "./upstream.ts";
import type { OpenedVendor } from "./vendor.ts";
import { statusOf } from "./vendor-errors.ts";
import type { AnswerPart, AnswerReader, AskedCall } from "./wire.ts";

export interface CallParts {
  readonly vendor: OpenedVendor;
  readonly upstream: Upstream;
  readonly calls: ModelCalls;
  readonly limits: ProxyLimits;
  /** The kill switch, for this run; null while it is armed. */
  readonly stopped: () => { readonly code: ErrorCode; readonly reason: string } | null;
}

/** An answer as far as it came. */
interface Taken {
  ended: ModelCallEnd;
  status: number | null;
}

/** Why a call was cut, and how that is recorded. */
class Cut extends Error {
  readonly ended: ModelCallEnd;
  readonly code: ErrorCode;

  constructor(ended: ModelCallEnd, code: ErrorCode, message: string) {
    super(message);
    this.ended = ended;
    this.code = code;
  }
}

const DONE = "[DONE]";

/** One call from the decision on it to its record. */
export class ModelCall {
  readonly #parts: CallParts;
  readonly #asked: AskedCall;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #digest = createHash("sha256");
  readonly #key: Buffer | null;
  #bytes = 0;
  #out: Asked | null = null;
  #cut: Cut | null = null;

  constructor(
    parts: CallParts,
    asked: AskedCall,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    this.#parts = parts;
    this.#asked = asked;
    this.#request = request;
    this.#response = response;
    const { key } = parts.vendor;
    this.#key = key === null ? null : Buffer.from(key);
  }

  /** End it now, from outside. */
  cut(ended: "stopped" | "cancelled" | "timeout", code: ErrorCode, message: string): void {
    if (this.#cut !== null) return;
    this.#cut = new Cut(ended, code, message);
    this.#out?.destroy(this.#cut);
    // What was begun ends in the middle: no client takes it for whole.
    if (this.#response.headersSent) this.#response.destroy();
  }

  async run(): Promise<void> {
    const { calls, vendor } = this.#parts;
    const { wire, model, body, inputTokens, cachesForAnHour, outputTokensMax } = this.#asked;
    const verdict = await calls.reserve({
      wire,
      vendor: vendor.name,
      model,
      request: { sha256: sha256Hex(body), bytes: body.length },
      inputTokens,
      cachesForAnHour,
      outputTokensMax,
    });
    if (!verdict.allowed) {
      this.#fail(verdict.code, verdict.reason);
      return;
    }
    const timer = setTimeout(() => {
      this.cut("timeout", "ERR_MODEL_TIMEOUT", "The call took longer than it may.");
    }, this.#parts.limits.callMs);
    try {
      await this.#carryOut(verdict.call);
    } finally {
      clearTimeout(timer);
    }
  }

  async #carryOut(call: string): Promise<void> {
    const reader = answerReader(this.#asked.wire);
    const taken: Taken = { ended: "unreachable", status: null };
    let finish: () => void;
    try {
      finish = await this.#take(reader, taken);
    } catch (error) {
      const { ended, code, message } = this.#judge(error, taken);
      taken.ended = ended;
      finish = () => {
        this.#fail(code, message);
      };
    }
    await this.#parts.calls.settle(call, {
      ended: taken.ended,
      status: taken.status,
      answer: this.#bytes === 0 ? null : { sha256: this.#digest.digest("hex"), bytes: this.#bytes },
      usage: usageOf(reader),
    });
    finish();
  }

  /**
   * Take the vendor's answer, and hand on what is not its end.
   * @returns what to do once the call is recorded
   */
  async #take(reader: AnswerReader, taken: Taken): Promise<() => void> {
    this.#refuseStopped();
    const { upstream, limits } = this.#parts;
    this.#out = upstream.ask(this.#asked.wire, this.#request.headers, this.#asked.body);
    const late = setTimeout(() => {
      this.cut("timeout", "ERR_MODEL_TIMEOUT", "The vendor did not begin to answer in time.");
    }, limits.firstByteMs);
    const answer = await this.#out.answer.finally(() => {
      clearTimeout(late);
    });
    // Once it answers, errors are told by reading it.
    answer.on("error", () => undefined);
    taken.status = answer.statusCode ?? null;
    taken.ended = "broken";
    if (answer.statusCode !== 200) return this.#takeRefusal(answer, taken);
    if (answer.headers["content-encoding"] !== undefined) throw notProtocol("no encoding");
    const type = (answer.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
    if (type === "text/event-stream" && this.#asked.streams) {
      return this.#takeStream(answer, reader, taken);
    }
    if (type === "application/json") return this.#takeWhole(answer, reader, taken);
    throw notProtocol("a content type of the protocol");
  }

  async #takeWhole(
    answer: IncomingMessage,
    reader: AnswerReader,
    taken: Taken,
  ): Promise<() => void> {
    const bytes = await readAll(answer, this.#parts.limits.answerBytesMax, this.#idle());
    this.#note(bytes);
    reader.whole(eventJson(bytes));
    // Counts that are none are no answer of the protocol.
    reader.usage();
    taken.ended = "completed";
    const headers = passedHeaders(answer);
    return () => {
      sendJson(this.#response, 200, bytes, headers);
    };
  }

  async #takeStream(
    answer: IncomingMessage,
    reader: AnswerReader,
    taken: Taken,
  ): Promise<() => void> {
    const { limits } = this.#parts;
    const splitter = new EventSplitter(limits.eventBytesMax);
    const held: Buffer[] = [];
    const headers = { ...passedHeaders(answer), "content-type": "text/event-stream" };
    this.#response.writeHead(200, { ...headers, "cache-control": "no-cache" });
    this.#response.flushHeaders();
    for await (const chunk of this.#chunks(answer)) {
      const end = await this.#takeChunk(splitter.push(chunk), reader, held);
      if (end === null) continue;
      if (end === "completed") reader.usage();
      taken.ended = end;
      drain(answer, limits.drainMs);
      return this.#ending(held);
    }
    // Some compatible servers leave out the end mark; nothing may be cut off in the middle.
    if (held.length === 0 || splitter.partial || this.#asked.wire !== "openai_chat") {
      throw new Cut("broken", "ERR_MODEL_ANSWER", "The vendor's stream broke off.");
    }
    reader.usage();
    taken.ended = "completed";
    return this.#ending(held);
  }

  /** @returns how the answer ended with this; null where it goes on */
  async #takeChunk(
    events: readonly StreamEvent[],
    reader: AnswerReader,
    held: Buffer[],
  ): Promise<"completed" | "failed" | null> {
    const now: Buffer[] = [];
    let end: "completed" | "failed" | null = null;
    for (const event of events) {
      const part = this.#judgeEvent(event, reader);
      (part === "more" && held.length === 0 ? now : held).push(event.bytes);
      if (part === "failed") end = "failed";
      if (part === "end") end = "completed";
      if (end !== null) break;
    }
    if (now.length > 0) await this.#write(Buffer.concat(now));
    return end;
  }

  #judgeEvent({ bytes, data }: StreamEvent, reader: AnswerReader): AnswerPart {
    this.#note(bytes);
    return data === null ? "more" : reader.event(markOrJson(data));
  }

  #ending(held: readonly Buffer[]): () => void {
    return () => {
      this.#response.end(Buffer.concat(held));
    };
  }

  /** The vendor said no: its words go on, but none of its secrets, and nothing else of its answer. */
  async #takeRefusal(answer: IncomingMessage, taken: Taken): Promise<() => void> {
    const status = answer.statusCode ?? 0;
    if (status < 400) throw notProtocol(`an answer, found ${status}; redirects are not followed`);
    const bytes = await readAll(answer, this.#parts.limits.refusalBytesMax, this.#idle());
    this.#note(bytes);
    taken.ended = "refused";
    const message = refusalText(bytes, this.#parts.vendor, status);
    const headers = passedHeaders(answer);
    return () => {
      sendError(this.#response, this.#asked.wire, status, message, headers);
    };
  }

  /** Waiting for the vendor is bounded; waiting for a slow client is bounded elsewhere. */
  async *#chunks(answer: IncomingMessage): AsyncGenerator<Buffer, void> {
    const iterator = answer.iterator({ destroyOnReturn: false });
    const idle = this.#idle();
    for (;;) {
      const timer = setTimeout(() => {
        answer.destroy(idle.error);
      }, idle.ms);
      try {
        const next = await iterator.next();
        if (next.done === true) return;
        yield next.value as Buffer;
      } finally {
        clearTimeout(timer);
      }
    }
  }

  #idle(): { ms: number; error: Error } {
    const error = new Cut("timeout", "ERR_MODEL_TIMEOUT", "The vendor fell silent.");
    return { ms: this.#parts.limits.idleMs, error };
  }

  async #write(bytes: Buffer): Promise<void> {
    if (this.#cut !== null) throw this.#cut;
    if (await writeOut(this.#response, bytes, this.#parts.limits.clientMs)) return;
    throw new Cut("cancelled", "ERR_MODEL_TIMEOUT", "The client left, or does not read.");
  }

  #note(bytes: Buffer): void {
    if (this.#key !== null && bytes.includes(this.#key)) {
      throw notProtocol("no key of the vendor's in it");
    }
    this.#bytes += bytes.length;
    if (this.#bytes > this.#parts.limits.answerBytesMax) throw notProtocol("a shorter answer");
    this.#digest.update(bytes);
  }

  #refuseStopped(): void {
    const stop = this.#parts.stopped();
    if (this.#cut === null && stop === null) return;
    throw this.#cut ?? new SovereignError(stop?.code ?? "ERR_SCRAM_TRIPPED", stop?.reason ?? "");
  }

  /** What became of it, and what the client is told. */
  #judge(error: unknown, taken: Taken): { ended: ModelCallEnd; code: ErrorCode; message: string } {
    const sent = this.#out?.isSent() === true;
    const cut = this.#cut ?? (error instanceof Cut ? error : null);
    if (cut !== null) {
      const { ended, code, message } = cut;
      return { ended: sent ? ended : "unreachable", code, message };
    }
    if (isSovereignError(error)) {
      const { code, message } = error;
      if (code === "ERR_MODEL_ANSWER") return { ended: "malformed", code, message };
      return { ended: sent ? "broken" : "unreachable", code, message };
    }
    const message = "The vendor's answer broke off.";
    return { ended: sent ? taken.ended : "unreachable", code: "ERR_MODEL_UNREACHABLE", message };
  }

  #fail(code: ErrorCode, message: string): void {
    if (this.#response.headersSent) this.#response.destroy();
    else sendError(this.#response, this.#asked.wire, statusOf(code), `${code}: ${message}`, {});
  }
}

function markOrJson(data: Buffer): ReturnType<typeof eventJson> | null {
  return data.toString("latin1").trim() === DONE ? null : eventJson(data);
}

/** Usage that is not of the protocol is none, and everything that was held counts. */
function usageOf(reader: AnswerReader): ModelUsage | null {
  try {
    return reader.usage();
  } catch (error) {
    if (!isSovereignError(error, "ERR_MODEL_ANSWER")) throw error;
    return null;
  }
}

function refusalText(bytes: Buffer, vendor: OpenedVendor, status: number): string {
  const fallback = `${vendor.name} answered ${status}.`;
  try {
    const body = eventJson(bytes);
    const error = isObject(body) ? body["error"] : undefined;
    const said = isObject(error) ? error["message"] : error;
    return typeof said === "string" ? `${vendor.name} says: ${cutText(said, 1000)}` : fallback;
  } catch {
    return fallback;
  }
}

/** The rest of an answer that is whole: read away, so that the connection can be used again. */
function drain(answer: IncomingMessage, ms: number): void {
  const timer = setTimeout(() => {
    answer.destroy();
  }, ms);
  timer.unref();
  answer.once("close", () => {
    clearTimeout(timer);
  });
  answer.resume();
}

function notProtocol(expected: string): SovereignError {
  return new SovereignError("ERR_MODEL_ANSWER", `The vendor's answer: expected ${expected}.`);
}

import {
  fields,
  type JsonObject,
  type JsonValue,
  type ModelUsage,
  type ModelWire,
  SovereignError,
} from "@sovereign/core";
import type { AnswerPart, AnswerReader } from "./wire.ts";

/** @throws ERR_MODEL_ANSWER through its methods */
export function answerReader(wire: ModelWire): AnswerReader {
  if (wire === "anthropic_messages") return new MessagesReader();
  if (wire === "openai_responses") return new ResponsesReader();
  if (wire === "openai_chat") return new ChatReader();
  return new CountReader();
}

/** Anthropic's Messages: counts come with the first event, and again, for all so far, at the end. */
class MessagesReader implements AnswerReader {
  #counts: JsonObject = {};
  #begun = false;
  #ended = false;

  event(data: JsonValue | null): AnswerPart {
    const event = objectOf(data, "an event");
    switch (event["type"]) {
      case "message_start": {
        if (this.#begun) throw malformed("one message_start");
        this.#begun = true;
        this.#take(objectOf(objectOf(event["message"], "a message")["usage"], "usage"));
        return "more";
      }
      case "message_delta":
        return this.#delta(event);
      case "message_stop":
        if (!this.#ended) throw malformed("a stop_reason before message_stop");
        return "end";
      case "error":
        return "failed";
      default:
        if (typeof event["type"] !== "string") throw malformed("an event with a type");
        return this.#ended ? "last" : "more";
    }
  }

  #delta(event: JsonObject): AnswerPart {
    if (!this.#begun) throw malformed("message_start before message_delta");
    if (event["usage"] !== undefined) this.#take(objectOf(event["usage"], "usage"));
    const reason = objectOf(event["delta"], "a delta")["stop_reason"];
    this.#ended ||= typeof reason === "string";
    return this.#ended ? "last" : "more";
  }

  whole(body: JsonValue): void {
    const message = objectOf(body, "a message");
    if (message["type"] !== "message") throw malformed("a message");
    this.#take(objectOf(message["usage"], "usage"));
    this.#ended = true;
  }

  usage(): ModelUsage | null {
    if (!this.#ended) return null;
    const counts = this.#counts;
    const read = countOf(counts["cache_read_input_tokens"]);
    const written = countOf(counts["cache_creation_input_tokens"]);
    const kinds = counts["cache_creation"];
    const hour = isObject(kinds) ? countOf(kinds["ephemeral_1h_input_tokens"]) : 0;
    return checked({
      input: requiredCount(counts["input_tokens"]) + read + written,
      cache_read: read,
      cache_write: written,
      cache_write_1h: hour,
      output: requiredCount(counts["output_tokens"]),
      reasoning: 0,
    });
  }

  /** What is said again counts for all so far, and so is never less. */
  #take(counts: JsonObject): void {
    for (const [name, value] of Object.entries(counts)) {
      const known = this.#counts[name];
      if (typeof known === "number" && typeof value === "number" && value < known) {
        throw malformed(`no smaller ${name} than before`);
      }
      if (value !== null) this.#counts[name] = value;
    }
  }
}

/** OpenAI's Responses: the last event holds the whole answer. */
class ResponsesReader implements AnswerReader {
  #usage: JsonValue | undefined;
  #ended = false;

  event(data: JsonValue | null): AnswerPart {
    if (data === null) return this.#ended ? "end" : "more";
    const event = objectOf(data, "an event");
    switch (event["type"]) {
      case "response.completed":
      case "response.incomplete":
        this.#usage = objectOf(event["response"], "a response")["usage"];
        this.#ended = true;
        return "end";
      case "response.failed":
      case "error":
        return "failed";
      default:
        if (typeof event["type"] !== "string") throw malformed("an event with a type");
        return "more";
    }
  }

  whole(body: JsonValue): void {
    const response = objectOf(body, "a response");
    if (response["object"] !== "response") throw malformed("a response");
    this.#usage = response["usage"];
    this.#ended = true;
  }

  usage(): ModelUsage | null {
    if (!this.#ended || this.#usage === undefined || this.#usage === null) return null;
    const counts = objectOf(this.#usage, "usage");
    return checked({
      input: requiredCount(counts["input_tokens"]),
      cache_read: partOf(counts["input_tokens_details"], "cached_tokens"),
      cache_write: partOf(counts["input_tokens_details"], "cache_write_tokens"),
      cache_write_1h: 0,
      output: requiredCount(counts["output_tokens"]),
      reasoning: partOf(counts["output_tokens_details"], "reasoning_tokens"),
    });
  }
}

/** Chat Completions: usage stands in a chunk of its own after the last choice, or in each. */
class ChatReader implements AnswerReader {
  #usage: JsonValue | undefined;
  #finished = false;

  event(data: JsonValue | null): AnswerPart {
    if (data === null) {
      if (!this.#finished) throw malformed("a finish_reason before [DONE]");
      return "end";
    }
    const chunk = objectOf(data, "a chunk");
    if (isObject(chunk["error"])) return "failed";
    if (chunk["usage"] !== undefined && chunk["usage"] !== null) this.#usage = chunk["usage"];
    const { choices } = chunk;
    if (choices !== undefined && !Array.isArray(choices)) throw malformed("choices");
    for (const choice of choices ?? []) {
      if (typeof objectOf(choice, "a choice")["finish_reason"] === "string") this.#finished = true;
    }
    return this.#finished ? "last" : "more";
  }

  whole(body: JsonValue): void {
    const completion = objectOf(body, "a completion");
    if (!Array.isArray(completion["choices"])) throw malformed("choices");
    this.#usage = completion["usage"];
    this.#finished = true;
  }

  usage(): ModelUsage | null {
    if (!this.#finished || this.#usage === undefined || this.#usage === null) return null;
    const counts = objectOf(this.#usage, "usage");
    const input = requiredCount(counts["prompt_tokens"]);
    const said = requiredCount(counts["completion_tokens"]);
    const reasoning = partOf(counts["completion_tokens_details"], "reasoning_tokens");
    // Some count what was thought beside the completion: the total tells.
    const output = Math.max(said, countOf(counts["total_tokens"]) - input, reasoning);
    return checked({
      input,
      cache_read: partOf(counts["prompt_tokens_details"], "cached_tokens"),
      cache_write: 0,
      cache_write_1h: 0,
      output,
      reasoning,
    });
  }
}

/** Anthropic's count of tokens, which uses none. */
class CountReader implements AnswerReader {
  event(): AnswerPart {
    throw malformed("an answer that is no stream");
  }

  whole(body: JsonValue): void {
    requiredCount(objectOf(body, "a count")["input_tokens"]);
  }

  usage(): ModelUsage | null {
    return null;
  }
}

function checked(usage: ModelUsage): ModelUsage {
  const { success } = fields.modelUsage.safeParse(usage);
  if (!success) throw malformed("counts of tokens that fit together");
  return usage;
}

function partOf(details: JsonValue | undefined, name: string): number {
  if (details === undefined || details === null) return 0;
  return countOf(objectOf(details, "details of usage")[name]);
}

function requiredCount(value: JsonValue | undefined): number {
  if (value === undefined || value === null) throw malformed("a count of tokens");
  return countOf(value);
}

function countOf(value: JsonValue | undefined): number {
  if (value === undefined || value === null) return 0;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw malformed("a whole count of tokens");
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function objectOf(value: JsonValue | undefined, what: string): JsonObject {
  if (isObject(value)) return value;
  throw malformed(what);
}

function malformed(expected: string): SovereignError {
  return new SovereignError(
    "ERR_MODEL_ANSWER",
    `The vendor's answer is not of its protocol: expected ${expected}.`,
  );
}

import type { JsonValue, ModelUsage, ModelWire } from "@sovereign/core";

/** What a request asks for, as far as the proxy has to know it. */
export interface AskedCall {
  readonly wire: ModelWire;
  readonly model: string;
  readonly streams: boolean;
  /** The most tokens that the answer may have; put into the request where it said nothing. */
  readonly outputTokensMax: number;
  /** How many tokens the request may come to: an estimate from its size. */
  readonly inputTokens: number;
  /** Whether something in it asks to be kept in a cache for an hour. */
  readonly cachesForAnHour: boolean;
  /** What goes to the vendor. */
  readonly body: Buffer;
}

/** What one event of a stream, or a whole answer, is to whoever hands it on. */
export type AnswerPart =
  /** More follows: hand it on. */
  | "more"
  /** The answer is whole with this and what follows: hold it back until the call is recorded. */
  | "last"
  /** Nothing follows. */
  | "end"
  /** The vendor says that it failed. */
  | "failed";

/** Reads an answer in one vendor's format. It throws ERR_MODEL_ANSWER for what is not of it. */
export interface AnswerReader {
  /** @param data what an event of the stream says, parsed; null for the end mark of OpenAI */
  event(data: JsonValue | null): AnswerPart;
  /** @param body an answer that is no stream */
  whole(body: JsonValue): void;
  /** What the vendor said that was used; null until it said so. */
  usage(): ModelUsage | null;
}

import { type JsonValue, parseStrictJson, SovereignError } from "@sovereign/core";

/** One event of a stream: its bytes as they came, and its data. */
export interface StreamEvent {
  readonly bytes: Buffer;
  /** Null for a comment, or an event without data. */
  readonly data: Buffer | null;
}

const LF = 0x0a;
const CR = 0x0d;

/**
 * Cuts server-sent events apart, and keeps every byte.
 * @see WHATWG HTML §9.2.6 "Interpreting an event stream"
 */
export class EventSplitter {
  readonly #bytesMax: number;
  #held: Buffer[] = [];
  #size = 0;
  /** Whether the last bytes ended a line, so that a line's end now ends the event. */
  #lineEmpty = true;
  #lastWasCr = false;

  /** @param bytesMax the longest event that is taken */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** True where an event began that has not ended. */
  get partial(): boolean {
    return this.#size > 0;
  }

  /** @throws ERR_MODEL_ANSWER for an event that is too long */
  push(chunk: Buffer): StreamEvent[] {
    const events: StreamEvent[] = [];
    let from = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      const second = byte === LF && this.#lastWasCr;
      this.#lastWasCr = byte === CR;
      // The second half of CR LF ends no line of its own.
      if (second) continue;
      if (byte !== LF && byte !== CR) {
        this.#lineEmpty = false;
        // Most bytes are of long lines: go to their end at once.
        const end = nextEnd(chunk, at + 1);
        at = end - 1;
        continue;
      }
      if (!this.#lineEmpty) {
        this.#lineEmpty = true;
        continue;
      }
      const upTo = byte === CR && chunk[at + 1] === LF ? at + 2 : at + 1;
      const bytes = this.#take(chunk.subarray(from, upTo));
      if (upTo === at + 2) {
        this.#lastWasCr = false;
        at += 1;
      }
      from = upTo;
      events.push({ bytes, data: dataOf(bytes) });
    }
    this.#keep(chunk.subarray(from));
    return events;
  }

  #keep(rest: Buffer): void {
    if (rest.length === 0) return;
    this.#size += rest.length;
    if (this.#size > this.#bytesMax) {
      const text = `An event of the vendor's stream has more than ${this.#bytesMax} bytes.`;
      throw new SovereignError("ERR_MODEL_ANSWER", text);
    }
    this.#held.push(rest);
  }

  #take(last: Buffer): Buffer {
    this.#keep(last);
    const bytes = this.#held.length === 1 ? (this.#held[0] ?? last) : Buffer.concat(this.#held);
    this.#held = [];
    this.#size = 0;
    return bytes;
  }
}

function nextEnd(chunk: Buffer, from: number): number {
  const lf = chunk.indexOf(LF, from);
  const end = lf < 0 ? chunk.length : lf;
  const cr = chunk.subarray(from, end).indexOf(CR);
  return cr < 0 ? end : from + cr;
}

function dataOf(event: Buffer): Buffer | null {
  const lines = event.toString("latin1").split(/\r\n|\r|\n/);
  const data = lines.flatMap((line) => {
    if (line !== "data" && !line.startsWith("data:")) return [];
    return [line.slice(line.charAt(5) === " " ? 6 : 5)];
  });
  return data.length === 0 ? null : Buffer.from(data.join("\n"), "latin1");
}

/** What an event says. @throws ERR_MODEL_ANSWER where it is no JSON */
export function eventJson(data: Buffer): JsonValue {
  try {
    return parseStrictJson(data, { loneSurrogates: true, bytesMax: data.length });
  } catch (cause) {
    const text = "The vendor's answer is not the JSON of its protocol.";
    throw new SovereignError("ERR_MODEL_ANSWER", text, {}, cause);
  }
}

import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject, JsonValue } from "@sovereign/core";
import type { ScriptedTurn } from "./scripted-model.ts";

/** Where an answer goes: it breaks off where the turn says so. */
export class Out {
  readonly streams: boolean;
  readonly #response: ServerResponse;
  readonly #turn: ScriptedTurn;
  #events = 0;

  constructor(response: ServerResponse, streams: boolean, turn: ScriptedTurn) {
    this.#response = response;
    this.streams = streams;
    this.#turn = turn;
    if (!streams) return;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "request-id": "req_scripted",
      "set-cookie": "tracked=yes",
    });
  }

  /** One event of a stream; with a name where the format has one. */
  async event(name: string | null, data: JsonValue | string): Promise<void> {
    const { delayMs = 0 } = this.#turn;
    if (delayMs > 0) await sleep(delayMs);
    this.#events += 1;
    if (this.#events > 2) await this.#failInStream();
    const text = typeof data === "string" ? data : JSON.stringify(data);
    const more = this.#response.write(
      `${name === null ? "" : `event: ${name}\n`}data: ${text}\n\n`,
    );
    if (!more) await new Promise((resolve) => this.#response.once("drain", resolve));
  }

  async #failInStream(): Promise<void> {
    const kind = this.#turn.fault?.kind;
    if (kind === "garbage") this.#response.write("data: {not json\n\n");
    if (kind === "hang_in_stream") await forever(this.#response);
    if (kind !== "broken_stream") return;
    // What was written before arrives.
    await sleep(30);
    this.#response.destroy();
    throw new Error("broken off");
  }

  async end(): Promise<void> {
    if (this.#turn.fault?.kind === "never_closes") await forever(this.#response);
    this.#response.end();
  }

  whole(body: JsonObject): void {
    sendJson(this.#response, 200, body);
  }

  /** What stands in the place of counts, where they are to be wrong. */
  counts(counts: JsonObject): JsonValue {
    const kind = this.#turn.fault?.kind;
    if (kind === "no_usage") return null;
    if (kind !== "malformed_usage") return counts;
    return Object.fromEntries(Object.keys(counts).map((name) => [name, -1.5]));
  }

  get failsInStream(): boolean {
    return this.#turn.fault?.kind === "error_in_stream";
  }
}

/** The text in its pieces. */
export function piecesOf({ text = "", pieces = 3 }: ScriptedTurn): string[] {
  const size = Math.max(1, Math.ceil(text.length / pieces));
  const found: string[] = [];
  for (let at = 0; at < text.length; at += size) found.push(text.slice(at, at + size));
  return found;
}

export function sendJson(response: ServerResponse, status: number, body: JsonObject): void {
  response.writeHead(status, { "content-type": "application/json", "request-id": "req_scripted" });
  response.end(JSON.stringify(body));
}

function forever(response: ServerResponse): Promise<never> {
  return new Promise((_, reject) => {
    response.once("close", () => {
      reject(new Error("gone"));
    });
  });
}

/**
 * A model server that says what a script tells it to say: Anthropic's Messages, OpenAI's Responses
 * and Chat Completions, streamed or whole. It stands in for a vendor in tests and in the demo, and
 * can fail in every way in which vendors do.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type JsonObject, parseStrictJson } from "@sovereign/core";
import { writeChat } from "./scripted-chat.ts";
import { writeMessages } from "./scripted-messages.ts";
import { Out, sendJson } from "./scripted-out.ts";
import { writeResponses } from "./scripted-responses.ts";

/** One call of a tool. */
export interface ScriptedTool {
  readonly name: string;
  readonly input: JsonObject;
  /** Text in the place of the input: a custom tool of OpenAI's Responses, such as `apply_patch`. */
  readonly text?: string;
}

/** What is said that was used; the input includes what was read from and written to a cache. */
export interface ScriptedUsage {
  readonly input: number;
  readonly output: number;
  readonly cacheRead?: number;
  readonly cacheWrite?: number;
  readonly reasoning?: number;
}

export type ScriptedFault =
  | { readonly kind: "status"; readonly status: number; readonly retryAfter?: number }
  | { readonly kind: "redirect"; readonly to: string }
  | {
      readonly kind:
        | "hang"
        | "hang_in_stream"
        | "broken_stream"
        | "garbage"
        | "html"
        | "malformed_usage"
        | "no_usage"
        | "never_closes"
        | "error_in_stream"
        | "echo_key"
        | "close";
    };

/** One answer. */
export interface ScriptedTurn {
  readonly text?: string;
  readonly tools?: readonly ScriptedTool[];
  readonly usage?: ScriptedUsage;
  readonly fault?: ScriptedFault;
  /** In how many pieces the text comes; 3. */
  readonly pieces?: number;
  /** The pause before each event of a stream. */
  readonly delayMs?: number;
}

export type ScriptedWire = "messages" | "responses" | "chat" | "count";

/** A request as it came. */
export interface ScriptedRequest {
  /** From 0. */
  readonly index: number;
  readonly wire: ScriptedWire;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: JsonObject;
  readonly bytes: Buffer;
}

export interface ScriptedOptions {
  /** The turns in order, or what to answer to a request. After the last one it says `done`. */
  readonly script:
    | readonly ScriptedTurn[]
    | ((request: ScriptedRequest) => ScriptedTurn | Promise<ScriptedTurn>);
  /** Refuse other keys with 401. */
  readonly key?: string;
  readonly tls?: { readonly cert: Buffer | string; readonly key: Buffer | string };
  /** A Unix socket in the place of a port of 127.0.0.1. */
  readonly socket?: string;
}

const DEFAULT_USAGE: ScriptedUsage = { input: 100, output: 20 };

export class ScriptedModel {
  /** Every request that came. */
  readonly requests: ScriptedRequest[] = [];
  /** What was truly used, for each answer that was begun. */
  readonly used: ScriptedUsage[] = [];
  /** How many connections were made. */
  connections = 0;
  readonly #server: Server;
  readonly #options: ScriptedOptions;

  private constructor(options: ScriptedOptions) {
    this.#options = options;
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#serve(request, response).catch(() => {
        response.destroy();
      });
    };
    this.#server =
      options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener);
    this.#server.on("connection", () => (this.connections += 1));
  }

  static async start(options: ScriptedOptions): Promise<ScriptedModel> {
    const model = new ScriptedModel(options);
    const { socket } = options;
    await new Promise<void>((resolve) => {
      if (socket === undefined) model.#server.listen(0, "127.0.0.1", resolve);
      else model.#server.listen(socket, resolve);
    });
    return model;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Its base URL, without a version. */
  get url(): string {
    return `${this.#options.tls === undefined ? "http" : "https"}://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = "", method, headers } = request;
    if (method === "HEAD") {
      response.writeHead(200).end();
      return;
    }
    const wire = wireOf(url);
    const bytes = await bodyOf(request);
    const given = headers["x-api-key"] ?? /^Bearer (.*)$/.exec(headers.authorization ?? "")?.[1];
    const { key } = this.#options;
    if (wire === null) {
      sendError(response, 404, "not_found_error", "no such path");
      return;
    }
    if (key !== undefined && given !== key) {
      sendError(response, 401, "authentication_error", "invalid x-api-key");
      return;
    }
    const body = parseStrictJson(bytes, { loneSurrogates: true }) as JsonObject;
    const asked = { index: this.requests.length, wire, url, headers, body, bytes };
    this.requests.push(asked);
    await this.#answer(asked, await this.#turn(asked), response);
  }

  async #turn(request: ScriptedRequest): Promise<ScriptedTurn> {
    const { script } = this.#options;
    if (typeof script === "function") return script(request);
    return script[request.index] ?? { text: "done" };
  }

  async #answer(
    request: ScriptedRequest,
    turn: ScriptedTurn,
    response: ServerResponse,
  ): Promise<void> {
    const { fault, usage = DEFAULT_USAGE } = turn;
    const { wire, body } = request;
    if (fault !== undefined && failAtOnce(fault, request, response)) return;
    if (wire === "count") {
      sendJson(response, 200, { input_tokens: usage.input });
      return;
    }
    this.used.push(usage);
    const out = new Out(response, body["stream"] === true, turn);
    const write = { messages: writeMessages, responses: writeResponses, chat: writeChat }[wire];
    await write(out, request, turn, usage);
  }
}

/** @returns whether nothing else is to be said */
function failAtOnce(
  fault: ScriptedFault,
  request: ScriptedRequest,
  response: ServerResponse,
): boolean {
  switch (fault.kind) {
    case "status": {
      if (fault.retryAfter !== undefined) {
        response.setHeader("retry-after", String(fault.retryAfter));
      }
      sendError(response, fault.status, "scripted_error", `scripted ${fault.status}`);
      return true;
    }
    case "redirect":
      response.writeHead(307, { location: fault.to }).end();
      return true;
    case "hang":
      return true;
    case "close":
      response.destroy();
      return true;
    case "html":
      response.writeHead(200, { "content-type": "text/html" }).end("<p>Welcome to the proxy</p>");
      return true;
    case "echo_key": {
      const said = JSON.stringify(request.headers);
      sendError(response, 400, "scripted_error", `you sent ${said}`);
      return true;
    }
    default:
      return false;
  }
}

function wireOf(url: string): ScriptedWire | null {
  const path = url.split("?")[0] ?? "";
  if (path === "/v1/messages") return "messages";
  if (path === "/v1/messages/count_tokens") return "count";
  if (path === "/v1/responses") return "responses";
  return path === "/v1/chat/completions" ? "chat" : null;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function sendError(response: ServerResponse, status: number, type: string, message: string): void {
  sendJson(response, status, { type: "error", error: { type, message } });
}

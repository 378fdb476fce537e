import { createHmac } from "node:crypto";
import { type IncomingMessage, request as requestPlain, type RequestOptions } from "node:http";
import { request as requestSecure } from "node:https";
import { base64Decode, SovereignError } from "@sovereign/core";
import { fixedLookup } from "../agents/index.ts";
import { systemClock } from "../system/index.ts";
import { maskBytes, maskText } from "./mask.ts";
import { BODY_BYTES_MAX, type HttpAsk } from "./protocol.ts";
import type { SecretPlaces } from "./secrets-in.ts";
import { countBytes, type Wire } from "./wire.ts";

/** Of an answer these are handed on: none of them can hold a session's secret. */
const KEPT_HEADERS = ["content-type", "etag", "last-modified", "retry-after"] as const;
/** What decides how a message is read, or who is asked, is ours to say. */
const OUR_HEADERS: ReadonlySet<string> = new Set([
  ...["host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade"],
  ...["expect", "keep-alive", "proxy-connection", "accept-encoding"],
]);

export function isOurHeader(name: string): boolean {
  return OUR_HEADERS.has(name.toLowerCase());
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** A request whose secrets are in their places. */
export interface FilledHttp {
  readonly url: URL;
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: Buffer | null;
}

/** @throws ERR_SECRET_UNKNOWN, ERR_SECRET_DENIED, ERR_SKILL_INPUT */
export async function fillHttp(ask: HttpAsk, url: URL, places: SecretPlaces): Promise<FilledHttp> {
  const { method, body, basic, webhook } = ask;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(ask.headers)) {
    if (isOurHeader(name)) {
      throw new SovereignError("ERR_SKILL_INPUT", `The header ${name} is set by the runtime.`);
    }
    headers[name] = await places.fill(value);
  }
  if (basic !== undefined) {
    const pair = `${await places.fill(basic.user)}:${await places.fill(basic.password)}`;
    headers["authorization"] = `Basic ${Buffer.from(pair, "latin1").toString("base64")}`;
  }
  if (webhook !== undefined) {
    Object.assign(headers, signed(webhook.id, await places.fill(webhook.secret), body));
  }
  headers["accept-encoding"] = "identity";
  if (body !== null) headers["content-length"] = String(body.length);
  return { url, method, headers, body };
}

/** @see the Standard Webhooks specification, "Signature scheme" */
function signed(id: string, secret: string, body: Buffer | null): Record<string, string> {
  const key = Buffer.from(base64Decode(secret.replace(/^whsec_/, "")));
  // The time of day is a part of the signature: receivers refuse old ones.
  const timestamp = String(Math.floor(systemClock.now().getTime() / 1000));
  const content = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body ?? Buffer.alloc(0)]);
  const signature = createHmac("sha256", key).update(content).digest("base64");
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${signature}`,
  };
}

/** One request to one address, and its answer without the secrets. Redirects are not followed. */
export async function exchange(
  { url, method, headers, body }: FilledHttp,
  wire: Wire,
  places: SecretPlaces,
): Promise<HttpAnswer> {
  const options: RequestOptions = {
    method,
    headers,
    lookup: fixedLookup([wire.address]),
    agent: false,
    maxHeaderSize: 16 * 1024,
    signal: wire.signal,
  };
  const request = url.protocol === "https:" ? requestSecure : requestPlain;
  const sent = request(url, options);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  sent.on("response", resolve).on("error", reject);
  sent.on("socket", (socket) => {
    countBytes(socket, wire);
  });
  sent.end(body ?? undefined);
  try {
    const message = await promise;
    const bytes = await readBody(message);
    return {
      status: message.statusCode ?? 0,
      headers: keptHeaders(message, places),
      body: maskBytes(bytes, places.used).toString("base64"),
    };
  } finally {
    wire.sent = Math.max(wire.sent, sent.socket?.bytesWritten ?? 0);
    wire.received = Math.max(wire.received, sent.socket?.bytesRead ?? 0);
    sent.destroy();
  }
}

async function readBody(message: IncomingMessage): Promise<Buffer> {
  const encoding = message.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    message.destroy();
    throw new SovereignError(
      "ERR_SKILL_FAILED",
      "the answer is compressed, which nobody asked for",
    );
  }
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of message as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > BODY_BYTES_MAX) {
      message.destroy();
      const text = `an answer of more than ${BODY_BYTES_MAX} bytes is not kept`;
      throw new SovereignError("ERR_SKILL_FAILED", text);
    }
    parts.push(part);
  }
  return Buffer.concat(parts, size);
}

function keptHeaders({ headers }: IncomingMessage, places: SecretPlaces): Record<string, string> {
  return Object.fromEntries(
    KEPT_HEADERS.flatMap((name): [string, string][] => {
      const value = headers[name];
      if (typeof value !== "string" || !/^[\x20-\x7e]{0,300}$/.test(value)) return [];
      return [[name, maskText(value, places.used)]];
    }),
  );
}

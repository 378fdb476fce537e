import type { ServerResponse } from "node:http";
import { errorRow, isSovereignError, type JsonObject } from "@sovereign/core";

/** What is answered: a status and a JSON document. */
export interface Answer {
  readonly status: number;
  readonly body: JsonObject;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Only what says something about the caller's own bytes is told; paths and causes are ours. */
const TOLD = /^ERR_(HTTP|SCRAM_ORDER|JSON|ENVELOPE|FORMAT)_/;

/** Problem details (RFC 9457), with our code. */
export function problemOf(error: unknown): Answer {
  const code = isSovereignError(error) ? error.code : "ERR_HTTP_FAILED";
  const { http: status, text } = errorRow(code);
  const detail = isSovereignError(error) && TOLD.test(code) ? error.message : text;
  const body = { type: `urn:sovereign:error:${code}`, title: text, status, detail, code };
  return { status, body };
}

/** Answer, and end the connection: each carries one request. */
export function sendAnswer(response: ServerResponse, { status, body, headers }: Answer): void {
  if (response.headersSent || response.destroyed) return;
  const text = Buffer.from(`${JSON.stringify(body)}\n`);
  const problem = status >= 400 && body["code"] !== undefined;
  response.writeHead(status, {
    "content-type": problem ? "application/problem+json" : "application/json",
    "content-length": text.length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    connection: "close",
    ...headers,
  });
  response.end(text);
}

import type { IncomingMessage, ServerResponse } from "node:http";
import { canonicalBytes, type ModelWire, SovereignError } from "@sovereign/core";
import { errorBody } from "./vendor-errors.ts";

/**
 * All of a message's body.
 * @throws ERR_MODEL_TOO_LARGE, the idle error, or what broke it off
 */
export async function readAll(
  message: IncomingMessage,
  bytesMax: number,
  idle: { readonly ms: number; readonly error: Error },
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  const timer = setTimeout(() => {
    message.destroy(idle.error);
  }, idle.ms);
  try {
    for await (const chunk of message as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > bytesMax) {
        const text = `Expected at most ${bytesMax} bytes, found more.`;
        throw new SovereignError("ERR_MODEL_TOO_LARGE", text, { bytesMax });
      }
      chunks.push(chunk);
      timer.refresh();
    }
  } finally {
    clearTimeout(timer);
  }
  return Buffer.concat(chunks, size);
}

/** Hand bytes on, no faster than they are taken. @returns false where nobody takes them */
export function writeOut(response: ServerResponse, bytes: Buffer, ms: number): Promise<boolean> {
  if (response.destroyed) return Promise.resolve(false);
  if (response.write(bytes)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const done = (taken: boolean) => (): void => {
      clearTimeout(timer);
      response.off("drain", onDrain);
      response.off("close", onClose);
      resolve(taken);
    };
    const [onDrain, onClose] = [done(true), done(false)];
    const timer = setTimeout(done(false), ms);
    response.on("drain", onDrain);
    response.on("close", onClose);
  });
}

export function sendJson(
  response: ServerResponse,
  status: number,
  bytes: Uint8Array,
  headers: Readonly<Record<string, string>>,
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  response.writeHead(status, {
    ...headers,
    "content-type": "application/json",
    "content-length": bytes.length,
  });
  response.end(bytes);
}

export function sendError(
  response: ServerResponse,
  wire: ModelWire | "anthropic" | "openai",
  status: number,
  message: string,
  headers: Readonly<Record<string, string>>,
): void {
  const body = canonicalBytes(
    errorBody(wire.startsWith("anthropic"), status, message.toWellFormed()),
  );
  sendJson(response, status, body, headers);
}

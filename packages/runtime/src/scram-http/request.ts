import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { SovereignError } from "@sovereign/core";

/** An order has some 1,200 bytes, and as much as its metadata. */
export const BODY_BYTES_MAX = 64 * 1024;
/** So much more is read and thrown away, so that who sent it reads our answer. */
const DRAIN_BYTES_MAX = 1024 * 1024;
const MEDIA_TYPES = ["application/json", "application/vnd.dsse.envelope.v1+json"];

/** With two of them, who stands before the server may have judged another one than we do. */
const ONCE = ["host", "origin", "content-type", "content-encoding", "content-length"];

/**
 * What a browser would send for a page that is not ours, and a name that somebody made stand for our
 * address, are refused. Numeric addresses are nobody's to redirect.
 *
 * @throws ERR_HTTP_HEADER, ERR_HTTP_REQUEST, ERR_HTTP_MEDIA_TYPE, ERR_HTTP_ORIGIN, ERR_HTTP_HOST
 */
export function checkCaller(request: IncomingMessage, isOurName: (name: string) => boolean): void {
  const twice = ONCE.find((name) => (request.headersDistinct[name]?.length ?? 0) > 1);
  if (twice !== undefined) {
    const message = `Expected one header ${twice}, found several. Send it once.`;
    throw new SovereignError("ERR_HTTP_HEADER", message);
  }
  if (request.url?.startsWith("/") !== true) {
    const message = "Expected a path in the request's first line, and no other address.";
    throw new SovereignError("ERR_HTTP_REQUEST", message);
  }
  const { origin, host = "", "content-encoding": encoding = "identity" } = request.headers;
  if (encoding !== "identity") {
    const message = "Expected a body that is not compressed. Leave Content-Encoding out.";
    throw new SovereignError("ERR_HTTP_MEDIA_TYPE", message);
  }
  if (origin !== undefined) {
    throw new SovereignError("ERR_HTTP_ORIGIN", "Expected no Origin header: pages may not ask.");
  }
  const name = host
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase();
  if (isIP(name) !== 0 || name === "localhost" || isOurName(name)) return;
  const message = `Expected a Host that this server goes by, found ${name.slice(0, 100)}. Name it with --host.`;
  throw new SovereignError("ERR_HTTP_HOST", message);
}

/**
 * A JSON body, in bytes.
 * @throws ERR_HTTP_MEDIA_TYPE, ERR_HTTP_TOO_LARGE, ERR_HTTP_UNREACHABLE when it breaks off
 */
export async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  checkMediaType(request);
  const announced = Number(request.headers["content-length"] ?? 0);
  if (announced > DRAIN_BYTES_MAX) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Uint8Array>) {
      size += chunk.length;
      if (size > DRAIN_BYTES_MAX) break;
      if (size <= BODY_BYTES_MAX) chunks.push(chunk);
    }
  } catch (cause) {
    const message = "The request broke off.";
    throw new SovereignError("ERR_HTTP_UNREACHABLE", message, {}, cause);
  }
  if (size > BODY_BYTES_MAX) throw tooLarge();
  return Buffer.concat(chunks);
}

function checkMediaType({ headers }: IncomingMessage): void {
  const { "content-type": type = "" } = headers;
  const [media = ""] = type.split(";");
  if (MEDIA_TYPES.includes(media.trim().toLowerCase())) return;
  const found = type.slice(0, 100) || "nothing";
  const message = `Expected ${MEDIA_TYPES.join(" or ")}, found ${found}.`;
  throw new SovereignError("ERR_HTTP_MEDIA_TYPE", message);
}

function tooLarge(): SovereignError {
  const message = `Expected at most ${BODY_BYTES_MAX} bytes.`;
  return new SovereignError("ERR_HTTP_TOO_LARGE", message);
}

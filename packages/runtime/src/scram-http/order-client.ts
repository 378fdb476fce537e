import { request as httpRequest, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import {
  cutText,
  type Envelope,
  isErrorCode,
  type JsonObject,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";

const ORDERS = "/v1/scram/orders";
/** A stop takes half a second, hooks one more, a sentinel that must be started some. */
const PATIENCE_MS = 30_000;
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;

/** A server that takes orders. */
export interface OrderServer {
  /** `https://…`, `http://…` or `unix:PATH`. */
  readonly url: string;
  /** Whose certificates are believed, as PEM; null for those of the system. */
  readonly ca: Buffer | null;
  /** Who we are, as PEM, where the server lets in only those whom it knows. */
  readonly identity: { readonly cert: Buffer; readonly key: Buffer } | null;
}

/**
 * Send an order to a server.
 *
 * @returns what it answers, which is untrusted, where it took the order
 * @throws the code that it refuses with, ERR_HTTP_UNREACHABLE, ERR_HTTP_ANSWER, ERR_HTTP_CONFIG
 */
export async function postOrder(server: OrderServer, envelope: Envelope): Promise<JsonObject> {
  const { status, bytes } = await post(server, Buffer.from(JSON.stringify(envelope)));
  let answer: JsonObject;
  try {
    answer = parseStrictJson(bytes, { bytesMax: ANSWER_BYTES_MAX }) as JsonObject;
  } catch (cause) {
    const message = `Expected JSON from ${server.url}, found status ${status} and other bytes. Is it sovereign scram serve?`;
    throw new SovereignError("ERR_HTTP_ANSWER", message, { status }, cause);
  }
  if (status === 200 || status === 202) return answer;
  const { code, detail } = answer;
  if (isErrorCode(code)) {
    const told = typeof detail === "string" ? cutText(detail, 1000) : "refused";
    throw new SovereignError(code, `${server.url}: ${told}`, { status });
  }
  const message = `Expected an answer to an order from ${server.url}, found status ${status}.`;
  throw new SovereignError("ERR_HTTP_ANSWER", message, { status });
}

function post(server: OrderServer, body: Buffer): Promise<{ status: number; bytes: Uint8Array }> {
  const { options, secure } = targetOf(server);
  const headers = { "content-type": "application/json", "content-length": body.length };
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void => {
      const message = `No answer from ${server.url}: ${why}. Whether the order was carried out is not known: send it again, or look at ${ORDERS.replace("orders", "status")}.`;
      reject(new SovereignError("ERR_HTTP_UNREACHABLE", message, {}, cause));
    };
    const sent = (secure ? httpsRequest : httpRequest)(
      { ...options, path: ORDERS, method: "POST", headers, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > ANSWER_BYTES_MAX) sent.destroy(new Error("the answer is too long"));
          else chunks.push(chunk);
        });
        response.on("error", (error) => {
          fail(error.message, error);
        });
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) });
        });
      },
    );
    const timer = setTimeout(() => {
      sent.destroy(new Error(`it took longer than ${PATIENCE_MS / 1000} s`));
    }, PATIENCE_MS);
    sent.on("close", () => {
      clearTimeout(timer);
    });
    sent.on("error", (error) => {
      fail(error.message, error);
    });
    sent.end(body);
  });
}

function targetOf({ url, ca, identity }: OrderServer): {
  options: RequestOptions;
  secure: boolean;
} {
  if (url.startsWith("unix:")) {
    return { options: { socketPath: url.slice(5), host: "localhost" }, secure: false };
  }
  const found = URL.canParse(url) ? new URL(url) : null;
  const secure = found?.protocol === "https:";
  const bare = found !== null && found.pathname === "/" && found.search === "";
  if (found === null || !bare || (!secure && found.protocol !== "http:")) {
    const message = `Expected --url https://HOST:PORT, http://HOST:PORT or unix:PATH, found ${url}.`;
    throw new SovereignError("ERR_HTTP_CONFIG", message);
  }
  const { hostname, port } = found;
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const options = {
    host,
    ...(port === "" ? {} : { port }),
    ...(ca === null ? {} : { ca }),
    ...identity,
  };
  return { options, secure };
}

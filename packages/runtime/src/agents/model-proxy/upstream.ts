import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request } from "node:http";
import { Agent as HttpsAgent, request as requestTls } from "node:https";
import { isIP, type LookupFunction, type Socket } from "node:net";
import { isSovereignError, type ModelWire, SovereignError } from "@sovereign/core";
import {
  fixedLookup,
  isLoopbackAddress,
  isPublicAddress,
  namesLoopback,
  resolveChecked,
  type Resolver,
} from "../addresses.ts";
import { type OpenedVendor, vendorUrl } from "./vendor.ts";

/** A connection that nobody used for so long is not used again. */
const FREE_SOCKET_MS = 10_000;

/** Of a client's headers these go to the vendor, and of the vendor's answer those come back. */
const TO_VENDOR = ["anthropic-version", "anthropic-beta", "openai-beta"] as const;
const FROM_VENDOR = ["request-id", "x-request-id", "retry-after"] as const;
const PLAIN_HEADER = /^[\x20-\x7e]{1,2000}$/;

/** What was sent, and how far it came. */
export interface Asked {
  readonly answer: Promise<IncomingMessage>;
  /** False while it is certain that the vendor got nothing of the request. */
  isSent(): boolean;
  destroy(error: Error): void;
}

/** Connections to one vendor. */
export class Upstream {
  readonly #vendor: OpenedVendor;
  readonly #resolver: Resolver;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #allowed: (address: string) => boolean;

  constructor(vendor: OpenedVendor, resolver: Resolver) {
    this.#vendor = vendor;
    this.#resolver = resolver;
    const options = { keepAlive: true, timeout: FREE_SOCKET_MS };
    this.#agent =
      vendor.base.protocol === "https:" ? new HttpsAgent(options) : new HttpAgent(options);
    this.#allowed = namesLoopback(vendor.base.hostname) ? isLoopbackAddress : isPublicAddress;
  }

  /**
   * Send one request, once. Redirects are not followed, certificates are verified, and a connection
   * is made to an address that was looked at.
   */
  ask(wire: ModelWire, given: Readonly<Record<string, unknown>>, body: Buffer): Asked {
    const url = vendorUrl(this.#vendor, wire);
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    const make = url.protocol === "https:" ? requestTls : request;
    let sent = false;
    let outgoing: ClientRequest;
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing = make(url, {
        method: "POST",
        agent: this.#agent,
        headers: { ...this.#headers(given), "content-length": body.length },
        lookup: this.#lookup(),
      });
      outgoing.on("error", (cause) => {
        reject(isSovereignError(cause) ? cause : unreachable(this.#vendor, cause));
      });
      outgoing.on("response", resolve);
      outgoing.on("socket", (socket: Socket) => {
        if (!socket.connecting) sent = true;
        else {
          socket.once(url.protocol === "https:" ? "secureConnect" : "connect", () => (sent = true));
        }
      });
      // An address in the URL itself is never looked up.
      if (isIP(host) !== 0 && !this.#allowed(host)) {
        resolveChecked(host, this.#allowed, this.#resolver).catch((error: unknown) => {
          outgoing.destroy(error as Error);
        });
      } else outgoing.end(body);
    });
    return {
      answer,
      isSent: () => sent,
      destroy: (error) => outgoing.destroy(error),
    };
  }

  close(): void {
    this.#agent.destroy();
  }

  #headers(given: Readonly<Record<string, unknown>>): Record<string, string> {
    const { auth, key } = this.#vendor;
    const headers: Record<string, string> = {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "accept-encoding": "identity",
      "user-agent": "sovereign",
    };
    for (const name of TO_VENDOR) {
      const value = given[name];
      if (typeof value === "string" && PLAIN_HEADER.test(value)) headers[name] = value;
    }
    if (key !== null && auth === "x-api-key") headers["x-api-key"] = key;
    if (key !== null && auth === "bearer") headers["authorization"] = `Bearer ${key}`;
    return headers;
  }

  /** Whatever the name leads to at the moment of the connection is looked at then. */
  #lookup(): LookupFunction {
    return (host, options, callback) => {
      resolveChecked(host, this.#allowed, this.#resolver).then(
        (addresses) => {
          fixedLookup(addresses)(host, options, callback);
        },
        (error: unknown) => {
          callback(error as NodeJS.ErrnoException, "", 4);
        },
      );
    };
  }
}

/** Headers of an answer that the client may see. */
export function passedHeaders(answer: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of FROM_VENDOR) {
    const value = answer.headers[name];
    if (typeof value === "string" && PLAIN_HEADER.test(value)) headers[name] = value;
  }
  return headers;
}

function unreachable(vendor: OpenedVendor, cause: Error): SovereignError {
  const { code = "" } = cause as NodeJS.ErrnoException;
  const tls = /CERT|TLS|SSL|SELF_SIGNED|ISSUER/.test(code);
  const why = tls ? `its certificate is refused (${code})` : code || "the connection broke";
  const text = `${vendor.name} at ${vendor.base.host} cannot be reached: ${why}.`;
  return new SovereignError("ERR_MODEL_UNREACHABLE", text, { vendor: vendor.name, tls }, cause);
}

import { X509Certificate } from "node:crypto";
import { rmSync } from "node:fs";
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer, Server as TlsServer } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { SovereignError } from "@sovereign/core";
import type { Clock } from "../system/index.ts";
import { sendAnswer } from "./answer.ts";
import { Connections, sourceOf } from "./connections.ts";
import { HandshakeTurns } from "./handshake-turns.ts";
import { isLocal, type ListenAddress } from "./listen-address.ts";
import { checkCaller } from "./request.ts";
import type { ScramDoor } from "./scram-routes.ts";

const CONNECTIONS_MAX = 256;
const PER_SOURCE_MAX = 32;
/** Of those whose TLS handshake has not begun: who is cut off comes again, and costs us that again. */
const WAITING_MAX = 2048;
const HEADERS_MS = 5000;
const REQUEST_MS = 10_000;
const IDLE_MS = 15_000;
const CLOSE_MS = 3000;
/** Newcomers that the kernel holds for us, or as many as it is set to; the others come again later. */
const BACKLOG = 4096;

/** Certificate and key, as PEM; with a CA only whom it certified may connect. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly clientCa: Buffer | null;
}

export interface ScramServerOptions {
  readonly door: ScramDoor;
  readonly clock: Clock;
  readonly listen: ListenAddress;
  readonly tls: TlsMaterial | null;
  /** Serve other machines without encryption. */
  readonly plaintext: boolean;
  /** Names that the server goes by, besides addresses and those of its certificate. */
  readonly names: readonly string[];
}

/** The kill switch over HTTP. */
export class ScramServer {
  readonly #server: Server;
  readonly #connections: Connections;
  /** Those whose handshake has not begun. */
  readonly #waiting: Connections;
  readonly #names: Names;
  /** Where it listens, as a URL. */
  readonly url: string;

  private constructor(
    server: Server,
    connections: Connections,
    waiting: Connections,
    names: Names,
    url: string,
  ) {
    this.#server = server;
    this.#connections = connections;
    this.#waiting = waiting;
    this.#names = names;
    this.url = url;
  }

  /**
   * @throws ERR_HTTP_CONFIG where other machines could read what is sent, ERR_HTTP_LISTEN
   */
  static async start(options: ScramServerOptions): Promise<ScramServer> {
    const { door, clock, listen, tls, plaintext } = options;
    if (tls === null && !plaintext && !isLocal(listen)) {
      const message = `Expected --tls-cert and --tls-key to serve other machines. Orders are signed, so --insecure-plaintext is possible: then anybody on the way can read them, hold them back, and forge answers.`;
      throw new SovereignError("ERR_HTTP_CONFIG", message);
    }
    const connections = new Connections(CONNECTIONS_MAX, PER_SOURCE_MAX);
    const waiting = new Connections(WAITING_MAX, WAITING_MAX);
    const names = new Names(options.names);
    const server = createPlainOrTls(tls, (request, response) => {
      void handle(door, connections, names, request, response);
    });
    server.prependListener("connection", (socket: Socket) => {
      waiting.release(socket);
      connections.add(socket);
    });
    if (tls !== null) {
      names.certify(tls);
      takeTurns(server, new HandshakeTurns(clock), waiting);
    }
    server.on("clientError", refuseBytes);
    // One request a connection: what follows in the same breath is not looked at.
    server.maxRequestsPerSocket = 1;
    server.setTimeout(IDLE_MS);
    await listenAt(server, listen);
    return new ScramServer(
      server,
      connections,
      waiting,
      names,
      urlOf(server, listen, tls !== null),
    );
  }

  /** Serve another certificate from the next connection on. @throws ERR_HTTP_CONFIG */
  renew(tls: TlsMaterial): void {
    if (!(this.#server instanceof TlsServer)) return;
    const { cert, key, clientCa } = tls;
    try {
      const ca = clientCa === null ? {} : { ca: clientCa };
      this.#server.setSecureContext({ cert, key, minVersion: "TLSv1.3", ...ca });
      this.#names.certify(tls);
    } catch (cause) {
      throw unusable(cause);
    }
  }

  /** Listen no more. Whose order is being carried out gets their answer. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#waiting.closeAll(false);
    this.#connections.closeAll(true);
    const patience = setTimeout(() => {
      this.#connections.closeAll(false);
    }, CLOSE_MS);
    await closed;
    clearTimeout(patience);
  }
}

async function handle(
  door: ScramDoor,
  connections: Connections,
  names: Names,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // Whoever goes away while being answered is nobody's concern.
  request.on("error", () => undefined);
  response.on("error", () => undefined);
  try {
    checkCaller(request, (name) => names.include(name));
    const answer = await routeOf(request)(door, request, () => {
      connections.keep(request.socket);
    });
    sendAnswer(response, answer);
  } catch (error) {
    sendAnswer(response, door.refuse(error, request));
  }
}

type Route = (
  door: ScramDoor,
  request: IncomingMessage,
  keep: () => void,
) => ReturnType<ScramDoor["order"]>;

const ROUTES: Readonly<Record<string, { readonly method: string; readonly route: Route }>> = {
  "/v1/scram/orders": {
    method: "POST",
    route: (door, request, keep) => door.order(request, keep),
  },
  "/v1/scram/status": { method: "GET", route: (door) => door.status() },
  "/healthz": { method: "GET", route: (door) => door.health() },
};

/** @throws ERR_HTTP_NOT_FOUND, ERR_HTTP_METHOD */
function routeOf({ url = "", method }: IncomingMessage): Route {
  const found = Object.hasOwn(ROUTES, url) ? ROUTES[url] : undefined;
  if (found === undefined) {
    const message = `Expected one of ${Object.keys(ROUTES).join(", ")}.`;
    throw new SovereignError("ERR_HTTP_NOT_FOUND", message);
  }
  if (found.method === method) return found.route;
  throw new SovereignError("ERR_HTTP_METHOD", `Expected ${found.method}.`);
}

function createPlainOrTls(tls: TlsMaterial | null, listener: RequestListener): Server {
  const limits = {
    maxHeaderSize: 8192,
    headersTimeout: HEADERS_MS,
    requestTimeout: REQUEST_MS,
    connectionsCheckingInterval: 500,
    noDelay: true,
  };
  if (tls === null) return createServer(limits, listener);
  const { cert, key, clientCa } = tls;
  try {
    return createTlsServer(
      {
        ...limits,
        cert,
        key,
        minVersion: "TLSv1.3",
        handshakeTimeout: HEADERS_MS,
        pauseOnConnect: true,
        ...(clientCa === null ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
      },
      listener,
    );
  } catch (cause) {
    throw unusable(cause);
  }
}

/** A handshake begins when it is its turn. Until then nothing is read of the connection. */
function takeTurns(server: Server, turns: HandshakeTurns, waiting: Connections): void {
  const listeners = server.listeners("connection") as ((socket: Socket) => void)[];
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    socket.on("error", () => undefined);
    waiting.add(socket);
    turns.add(sourceOf(socket), {
      gone: () => socket.destroyed,
      begin: () => {
        for (const listener of listeners) listener.call(server, socket);
      },
    });
  });
}

function unusable(cause: unknown): SovereignError {
  const why = cause instanceof Error ? cause.message : "unreadable";
  const message = `Expected a certificate and its key, as PEM: ${why}.`;
  return new SovereignError("ERR_HTTP_CONFIG", message, {}, cause);
}

/** What the server goes by. Names of its certificate are ours: whoever connects has checked them. */
class Names {
  readonly #given: ReadonlySet<string>;
  #certificate: X509Certificate | null = null;

  constructor(given: readonly string[]) {
    this.#given = new Set(given.map((name) => name.toLowerCase()));
  }

  /** @throws ERR_HTTP_CONFIG */
  certify({ cert }: TlsMaterial): void {
    try {
      this.#certificate = new X509Certificate(cert);
    } catch (cause) {
      throw unusable(cause);
    }
  }

  include(name: string): boolean {
    return this.#given.has(name) || this.#certificate?.checkHost(name) !== undefined;
  }
}

const PROTOCOL_FAILURES: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
};

/** Bytes that are no request, or come too slowly. */
export function refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const status = PROTOCOL_FAILURES[error.code ?? ""] ?? "400 Bad Request";
  socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`, () => {
    socket.destroy();
  });
}

/** @throws ERR_HTTP_LISTEN */
async function listenAt(server: Server, listen: ListenAddress): Promise<void> {
  if (listen.kind === "unix") await removeDeadSocket(listen.path);
  const place = listen.kind === "unix" ? `unix:${listen.path}` : `${listen.host}:${listen.port}`;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const why = cause.code === "EADDRINUSE" ? "it is in use" : cause.message;
      const message = `Cannot listen at ${place}: ${why}. Choose another with --listen.`;
      reject(new SovereignError("ERR_HTTP_LISTEN", message, { code: cause.code ?? "" }, cause));
    });
    if (listen.kind === "tcp")
      server.listen({ port: listen.port, host: listen.host, backlog: BACKLOG }, resolve);
    else {
      // Made for its owner alone from the first moment.
      const before = process.umask(0o177);
      server.listen({ path: listen.path, backlog: BACKLOG }, resolve);
      process.umask(before);
    }
  });
}

/** A socket in which nobody listens is what a killed server left behind. */
export function removeDeadSocket(path: string): Promise<void> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve();
    });
    probe.once("error", ({ code }: NodeJS.ErrnoException) => {
      if (code === "ECONNREFUSED") rmSync(path, { force: true });
      resolve();
    });
  });
}

function urlOf(server: Server, listen: ListenAddress, secure: boolean): string {
  if (listen.kind === "unix") return `unix:${listen.path}`;
  const address = server.address() as AddressInfo;
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `${secure ? "https" : "http"}://${host}:${address.port}`;
}

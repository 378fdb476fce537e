import { createServer, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { type ErrorCode, parseStrictJson, SovereignError } from "@sovereign/core";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import {
  checkCaller,
  Connections,
  isLocal,
  type ListenAddress,
  refuseBytes,
  removeDeadSocket,
  type TlsMaterial,
} from "../scram-http/index.ts";
import type { ApiServices } from "../services/index.ts";
import { Admission, type ApiRates } from "./admission.ts";
import { openApi } from "./open-api.ts";
import { BODY_BYTES_MAX, problemOf } from "./problem.ts";
import type { Caller, Reply, Route } from "./route.ts";
import { methodsOf, refusePath, ROUTES } from "./routes.ts";

const HEADER_BYTES_MAX = 16 * 1024;
const HEADERS_MS = 5000;
const REQUEST_MS = 15_000;
const IDLE_MS = 60_000;
/** A model is asked for a plan at most four times, each time for five minutes. */
const ANSWER_MS = 25 * 60_000;
const CONNECTIONS_MAX = 1024;
const PER_SOURCE_MAX = 256;
const STREAMS_MAX = 256;
const STREAMS_PER_CALLER = 8;

export interface ApiServerOptions {
  readonly services: ApiServices;
  readonly listen: ListenAddress;
  readonly tls: TlsMaterial | null;
  /** Serve other machines without encryption. */
  readonly plaintext: boolean;
  /** Names that the server goes by, besides addresses. */
  readonly names: readonly string[];
  readonly rates: ApiRates;
  /** Told what nobody expected, which the caller is not told. */
  readonly onFault: (error: unknown) => void;
}

/** What is worth asking again by itself. */
const SOON_OVER: readonly ErrorCode[] = ["ERR_HTTP_BUSY", "ERR_OIDC_UNAVAILABLE"];

/** The HTTP API. */
export class ApiServer {
  readonly #app: FastifyInstance;
  readonly #options: ApiServerOptions;
  readonly #admission: Admission;
  readonly #ends = new AbortController();
  readonly #streams = new Map<string, number>();
  /** Where it listens, as a URL. */
  url = "";

  private constructor(options: ApiServerOptions) {
    this.#options = options;
    this.#admission = new Admission(options.services, options.rates);
    this.#app = newApp(options.tls, (error, request, reply) => {
      this.#refuse(error, request, reply);
    });
    this.#addRoutes();
  }

  /** @throws ERR_HTTP_CONFIG where other machines could read what is sent, ERR_TOKEN_NONE, ERR_HTTP_LISTEN */
  static async start(options: ApiServerOptions): Promise<ApiServer> {
    const { tls, plaintext, listen, services } = options;
    if (tls === null && !plaintext && !isLocal(listen)) {
      const text =
        "Expected --tls-cert and --tls-key to serve other machines. With --insecure-plaintext anybody on the way can read the tokens and use them.";
      throw new SovereignError("ERR_HTTP_CONFIG", text);
    }
    if (!(await services.hasCredential())) {
      const text =
        "No tenant has a token that counts, so nobody could use the API. Make one first: sovereign tokens create --tenant NAME --scope runs:write runs:read";
      throw new SovereignError("ERR_TOKEN_NONE", text);
    }
    const server = new ApiServer(options);
    await server.#listen(listen);
    return server;
  }

  /** Listen no more, end the streams, and wait for requests that are being answered. */
  async close(): Promise<void> {
    this.#ends.abort(new Error("the server ends"));
    await this.#app.close();
  }

  #addRoutes(): void {
    const app = this.#app;
    app.removeAllContentTypeParsers();
    const parseAs = { parseAs: "buffer" } as const;
    app.addContentTypeParser("application/json", parseAs, (_request, body, done) => {
      try {
        done(null, parseStrictJson(body as Buffer, { bytesMax: BODY_BYTES_MAX }));
      } catch (error) {
        done(error as Error);
      }
    });
    app.setErrorHandler((error, request, reply) => this.#refuse(error, request, reply));
    app.setNotFoundHandler((request, reply) => {
      try {
        refusePath(request.raw.url ?? "");
      } catch (error) {
        this.#refuse(error, request, reply);
      }
    });
    const names = new Set(this.#options.names.map((name) => name.toLowerCase()));
    app.addHook("onRequest", (request, _reply, done) => {
      try {
        checkCaller(request.raw, (name) => names.has(name));
        done();
      } catch (error) {
        done(error as Error);
      }
    });
    const described = Buffer.from(JSON.stringify(openApi(ROUTES)));
    app.get("/openapi.json", (_request, reply) => {
      headersOf(reply, "application/json");
      return reply.send(described);
    });
    for (const route of ROUTES) this.#addRoute(route);
  }

  #addRoute(route: Route): void {
    const callers = new WeakMap<FastifyRequest, Caller>();
    this.#app.route({
      method: route.method,
      url: route.path.replaceAll(/\{([^{}]+)\}/g, ":$1"),
      // Before anything of a body is read.
      onRequest: async (request) => {
        callers.set(request, await this.#admission.admit(route, request.raw));
      },
      handler: async (request, reply) => {
        const { params, query, body, headers } = request;
        // Else a connection on which nothing moves is closed before the answer comes.
        if (route.isSlow === true) waitLong(request, reply);
        const caller = callers.get(request);
        if (caller === undefined) throw new TypeError("a request is admitted before it is handled");
        const raw = { params, query, headers, body: body ?? null };
        const { services } = this.#options;
        const answer = await route.answer(services, caller, raw, this.#ends.signal);
        return this.#send(reply, answer, caller);
      },
    });
  }

  async #send(reply: FastifyReply, answer: Reply, caller: Caller): Promise<FastifyReply> {
    if ("stream" in answer) return this.#stream(reply, answer.stream, caller);
    reply.code(answer.status);
    if ("json" in answer) {
      headersOf(reply, "application/json");
      return reply.send(Buffer.from(`${JSON.stringify(answer.json)}\n`));
    }
    if ("bytes" in answer) {
      headersOf(reply, answer.type);
      reply.header("content-disposition", `attachment; filename="${answer.file}"`);
      return reply.send(Buffer.from(answer.bytes));
    }
    headersOf(reply, null);
    return reply.send();
  }

  async #stream(
    reply: FastifyReply,
    write: (to: ServerResponse) => Promise<void>,
    { name }: Caller,
  ): Promise<FastifyReply> {
    const own = this.#streams.get(name) ?? 0;
    const all = [...this.#streams.values()].reduce((sum, one) => sum + one, 0);
    if (own >= STREAMS_PER_CALLER || all >= STREAMS_MAX) {
      const text = `Expected at most ${STREAMS_PER_CALLER} streams of a caller. End one.`;
      throw new SovereignError("ERR_HTTP_BUSY", text);
    }
    this.#streams.set(name, own + 1);
    reply.hijack();
    const to = reply.raw;
    // Whoever goes away while being answered is nobody's concern.
    to.on("error", () => undefined);
    to.writeHead(200, { ...FIXED, "content-type": "text/event-stream" });
    try {
      await write(to);
    } catch (error) {
      // The stream ends, and whoever reads it asks again: nothing else can be said in it.
      this.#options.onFault(error);
    } finally {
      to.end();
      const left = (this.#streams.get(name) ?? 1) - 1;
      if (left === 0) this.#streams.delete(name);
      else this.#streams.set(name, left);
    }
    return reply;
  }

  #refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const problem = problemOf(error);
    if (problem.status >= 500 && problem.status !== 503) this.#options.onFault(error);
    headersOf(reply, "application/problem+json");
    if (problem.status === 401) reply.header("www-authenticate", 'Bearer realm="sovereign"');
    if (problem.status === 405) reply.header("allow", allowOf(request));
    if (problem.status === 429 || SOON_OVER.includes(problem.code))
      reply.header("retry-after", "1");
    return reply.code(problem.status).send(Buffer.from(`${JSON.stringify(problem)}\n`));
  }

  async #listen(listen: ListenAddress): Promise<void> {
    const connections = new Connections(CONNECTIONS_MAX, PER_SOURCE_MAX);
    this.#app.server.prependListener("connection", (socket: Socket) => {
      connections.add(socket);
    });
    const isUnix = listen.kind === "unix";
    if (isUnix) await removeDeadSocket(listen.path);
    const place = isUnix ? `unix:${listen.path}` : `${listen.host}:${listen.port}`;
    // A socket is made for its owner alone from the first moment.
    const before = process.umask(0o177);
    try {
      await this.#app.listen(
        isUnix ? { path: listen.path } : { host: listen.host, port: listen.port },
      );
    } catch (cause) {
      const { code = "", message } = cause as NodeJS.ErrnoException;
      const why = code === "EADDRINUSE" ? "it is in use" : message;
      const text = `Cannot listen at ${place}: ${why}. Choose another with --listen.`;
      throw new SovereignError("ERR_HTTP_LISTEN", text, { code }, cause);
    } finally {
      process.umask(before);
    }
    this.url = isUnix ? place : urlOf(this.#app.server.address() as AddressInfo, this.#options.tls);
  }
}

/** Until the answer, the connection may be still for longer than others may. */
function waitLong({ raw }: FastifyRequest, reply: FastifyReply): void {
  const { socket } = raw;
  socket.setTimeout(ANSWER_MS);
  reply.raw.once("finish", () => {
    socket.setTimeout(IDLE_MS);
  });
}

const FIXED = { "cache-control": "no-store", "x-content-type-options": "nosniff" } as const;

function headersOf(reply: FastifyReply, type: string | null): void {
  reply.headers(FIXED);
  if (type !== null) reply.header("content-type", type);
}

function allowOf({ raw }: FastifyRequest): string {
  const [path = ""] = (raw.url ?? "").split("?");
  return methodsOf(path).join(", ");
}

function urlOf({ family, address, port }: AddressInfo, tls: TlsMaterial | null): string {
  const host = family === "IPv6" ? `[${address}]` : address;
  return `${tls === null ? "http" : "https"}://${host}:${port}`;
}

/** @param refuse answers what cannot even be routed */
function newApp(
  tls: TlsMaterial | null,
  refuse: (error: unknown, request: FastifyRequest, reply: FastifyReply) => void,
): FastifyInstance {
  return fastify({
    bodyLimit: BODY_BYTES_MAX,
    exposeHeadRoutes: false,
    logger: false,
    frameworkErrors: refuse,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 100 },
    serverFactory: (handler) => {
      const server = newServer(tls, handler);
      server.setTimeout(IDLE_MS);
      server.keepAliveTimeout = REQUEST_MS;
      server.on("clientError", refuseBytes);
      return server;
    },
  });
}

/** @throws ERR_HTTP_CONFIG where certificate and key are none */
function newServer(tls: TlsMaterial | null, handler: RequestListener): Server {
  const limits = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_MS,
    requestTimeout: REQUEST_MS,
    connectionsCheckingInterval: 500,
    noDelay: true,
  };
  if (tls === null) return createServer(limits, handler);
  const { cert, key, clientCa } = tls;
  const ca = clientCa === null ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true };
  try {
    return createTlsServer({ ...limits, cert, key, minVersion: "TLSv1.3", ...ca }, handler);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : "unreadable";
    const text = `Expected a certificate and its key, as PEM: ${why}.`;
    throw new SovereignError("ERR_HTTP_CONFIG", text, {}, cause);
  }
}

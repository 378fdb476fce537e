import { timingSafeEqual } from "node:crypto";
import { chmodSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { connect, isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { isSovereignError, sha256, SovereignError } from "@sovereign/core";
import { every } from "../../system/index.ts";
import { isPublicAddress, resolveChecked, type Resolver, systemResolver } from "../addresses.ts";
import { type ClientHello, readClientHello } from "./client-hello.ts";
import type { EgressDesk, EgressEnd } from "./egress-desk.ts";

const LOOK_MS = 25;
const TARGET = /^([a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]):([1-9]\d{0,4})$/;

export interface EgressLimits {
  readonly openMax: number;
  readonly connectionsMax: number;
  readonly bytesMax: number;
  readonly helloMs: number;
  readonly connectMs: number;
  readonly idleMs: number;
}

export const EGRESS_LIMITS: EgressLimits = {
  openMax: 16,
  connectionsMax: 1000,
  bytesMax: 1024 * 1024 * 1024,
  helloMs: 10_000,
  connectMs: 10_000,
  idleMs: 300_000,
};

export interface EgressProxyOptions {
  /** SHA-256 of the token that a client shows, as the password of its proxy URL. */
  readonly tokenSha256: Uint8Array;
  readonly desk: EgressDesk;
  readonly limits?: Partial<EgressLimits>;
  readonly resolver?: Resolver;
  /** Which addresses are taken: public ones. */
  readonly allowed?: (address: string) => boolean;
}

/**
 * The only way from a sandbox to a host: TLS to hosts that the policy names, and nothing else. The
 * name in the TLS hello has to be the one that was asked for, and the connection goes to an address
 * that was looked at, so a name that leads elsewhere a moment later changes nothing.
 */
export class EgressProxy {
  readonly #options: EgressProxyOptions;
  readonly #limits: EgressLimits;
  readonly #server: Server;
  readonly #tunnels = new Set<Tunnel>();
  readonly #stopLooking: () => void;
  #asked = 0;
  #bytes = 0;

  constructor(options: EgressProxyOptions) {
    this.#options = options;
    this.#limits = { ...EGRESS_LIMITS, ...options.limits };
    const { helloMs, openMax } = this.#limits;
    this.#server = createServer({ headersTimeout: helloMs, requestTimeout: helloMs });
    this.#server.maxConnections = openMax * 2;
    this.#server.on("request", (_, response) => {
      response.writeHead(405, { connection: "close" }).end();
    });
    this.#server.on("connect", (request: IncomingMessage, client: Duplex, head: Buffer) => {
      client.on("error", () => undefined);
      void this.#connect(request, client, head);
    });
    this.#stopLooking = every(LOOK_MS, () => {
      if (this.#tunnels.size > 0 && options.desk.stopped() !== null) this.stop();
    });
  }

  async listen(socket: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(socket, resolve);
    });
    // In a sandbox whoever asks is another user; the folder around it is ours alone.
    chmodSync(socket, 0o666);
  }

  /** The kill switch: cut everything now. */
  stop(): void {
    for (const tunnel of this.#tunnels) tunnel.end("stopped");
  }

  /** Resolves when every end is recorded. */
  async close(): Promise<void> {
    this.#stopLooking();
    const left = [...this.#tunnels].map((tunnel) => tunnel.done);
    this.stop();
    this.#server.closeAllConnections();
    await Promise.allSettled(left);
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #connect(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    const { desk } = this.#options;
    let target = "";
    try {
      this.#checkToken(request);
      const { host, port } = targetOf(request.url ?? "");
      target = `${host}:${port}`;
      this.#permit(host, port);
      const tunnel = new Tunnel({
        client,
        host,
        port,
        desk,
        limits: this.#limits,
        count: (bytes) => (this.#bytes += bytes) <= this.#limits.bytesMax,
      });
      this.#tunnels.add(tunnel);
      const { resolver = systemResolver, allowed = isPublicAddress } = this.#options;
      await tunnel.run(head, () => resolveChecked(host, allowed, resolver));
      this.#tunnels.delete(tunnel);
    } catch (error) {
      await this.#refuse(client, target, error);
    }
  }

  #permit(host: string, port: number): void {
    const { desk } = this.#options;
    const { connectionsMax, openMax, bytesMax } = this.#limits;
    const stop = desk.stopped();
    if (stop !== null) throw new SovereignError(stop.code, stop.reason);
    this.#asked += 1;
    const full = this.#asked > connectionsMax || this.#tunnels.size >= openMax;
    if (full || this.#bytes >= bytesMax) {
      const text = `The run has used up its connections (${connectionsMax}, ${openMax} at once) or its bytes (${bytesMax}).`;
      throw new SovereignError("ERR_EGRESS_LIMIT", text);
    }
    const denial = desk.decide(host, port);
    if (denial !== null) throw new SovereignError(denial.code, denial.reason);
  }

  async #refuse(client: Duplex, target: string, error: unknown): Promise<void> {
    const known = isSovereignError(error);
    const code = known ? error.code : "ERR_HTTP_FAILED";
    const text = known ? error.message : "the connection failed";
    const status =
      code === "ERR_MODEL_TOKEN" ? "407 Proxy Authentication Required" : "403 Forbidden";
    const body = `${code}: ${text}\n`.toWellFormed();
    const length = Buffer.byteLength(body);
    client.end(
      `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: ${length}\r\n\r\n${body}`,
    );
    // Who shows no token is nobody of this run.
    if (code === "ERR_MODEL_TOKEN" || target === "") return;
    await this.#options.desk.refused(target, code, text).catch(() => {
      client.destroy();
    });
  }

  /** @throws ERR_MODEL_TOKEN */
  #checkToken({ headers }: IncomingMessage): void {
    const given = /^Basic ([A-Za-z0-9+/=]{1,400})$/i.exec(
      headers["proxy-authorization"] ?? "",
    )?.[1];
    const words = Buffer.from(given ?? "", "base64").toString("latin1");
    const password = words.slice(words.indexOf(":") + 1);
    const digest = sha256(Buffer.from(password, "latin1"));
    if (given !== undefined && timingSafeEqual(this.#options.tokenSha256, digest)) return;
    throw new SovereignError("ERR_MODEL_TOKEN", "The token is not the run's.");
  }
}

interface TunnelOptions {
  readonly client: Duplex;
  readonly host: string;
  readonly port: number;
  readonly desk: EgressDesk;
  readonly limits: EgressLimits;
  /** Counts bytes of all tunnels; false where there are too many. */
  readonly count: (bytes: number) => boolean;
}

/** One connection, from the client's hello to its recorded end. */
class Tunnel {
  /** Resolves when its end is recorded. */
  readonly done: Promise<void>;
  readonly #options: TunnelOptions;
  readonly #finished = Promise.withResolvers<undefined>();
  readonly #ended = Promise.withResolvers<EgressEnd>();
  #out: Socket | null = null;
  #sent = 0;
  #received = 0;

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.done = this.#finished.promise;
  }

  end(how: EgressEnd): void {
    this.#ended.resolve(how);
    this.#out?.destroy();
    this.#options.client.destroy();
  }

  async run(head: Buffer, resolve: () => Promise<readonly string[]>): Promise<void> {
    const { client, host, port, desk } = this.#options;
    try {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      const hello = await this.#hello(head);
      const out = await this.#reach(await resolve());
      this.#out = out;
      const connection = await desk.connected(host, port, out.remoteAddress ?? "unknown");
      // The switch may have tripped while it was recorded.
      if (desk.stopped() !== null) this.end("stopped");
      else this.#join(out, hello);
      const how = await this.#ended.promise;
      client.destroy();
      out.destroy();
      await desk.closed(connection, how, this.#sent, this.#received);
    } catch (error) {
      // After the 200 there is no way to say why: the record says it.
      client.destroy();
      this.#out?.destroy();
      const known = isSovereignError(error);
      const text = known ? error.message : "the connection failed";
      const code = known ? error.code : "ERR_HTTP_FAILED";
      await desk.refused(`${host}:${port}`, code, text).catch(() => undefined);
    } finally {
      this.#finished.resolve(undefined);
    }
  }

  /** Wait for the hello, and hold its name against the one that was asked for. */
  async #hello(head: Buffer): Promise<Buffer> {
    const { client, limits } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    let bytes = head;
    const take = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      try {
        const hello = readClientHello(bytes);
        if (hello !== null) resolve(this.#requireName(hello, bytes));
      } catch (error) {
        reject(error);
      }
    };
    const fail = (): void => {
      reject(new SovereignError("ERR_EGRESS_NAME", "No whole TLS hello came in time."));
    };
    const timer = setTimeout(fail, limits.helloMs);
    client.on("data", take).once("close", fail);
    take(Buffer.alloc(0));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      client.pause();
      client.off("data", take).off("close", fail);
    }
  }

  /** @throws ERR_EGRESS_NAME */
  #requireName({ serverName }: ClientHello, bytes: Buffer): Buffer {
    const name = this.#options.host.replace(/^\[(.*)\]$/, "$1");
    if (serverName === (isIP(name) === 0 ? name : null)) return bytes;
    const text = `Expected the TLS server name ${name}, found ${serverName ?? "none"}.`;
    throw new SovereignError("ERR_EGRESS_NAME", text);
  }

  /** Connect to one of the addresses that were looked at; no name is resolved again. */
  #reach(addresses: readonly string[]): Promise<Socket> {
    const { port, limits, host } = this.#options;
    const [address = ""] = addresses;
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const out = connect({ host: address, port });
    this.#out = out;
    const fail = (why: string): void => {
      out.destroy();
      reject(new SovereignError("ERR_MODEL_UNREACHABLE", `${host} at ${address}: ${why}.`));
    };
    const timer = setTimeout(() => {
      fail("no answer in time");
    }, limits.connectMs);
    out.once("connect", () => {
      resolve(out);
    });
    out.on("error", (error: NodeJS.ErrnoException) => {
      fail(error.code ?? "it broke");
    });
    out.once("close", () => {
      fail("it was closed");
    });
    return promise.finally(() => {
      clearTimeout(timer);
    });
  }

  #join(out: Socket, hello: Buffer): void {
    const { client, limits } = this.#options;
    out.setTimeout(limits.idleMs, () => {
      this.end("timeout");
    });
    out.on("error", () => {
      this.end("failed");
    });
    for (const one of [client, out]) {
      one.on("close", () => {
        this.end("closed");
      });
    }
    this.#pass(hello, (bytes) => out.write(bytes), "sent");
    client.on("data", (bytes: Buffer) => {
      if (!this.#pass(bytes, (one) => out.write(one), "sent")) client.pause();
    });
    out.on("drain", () => client.resume());
    out.on("data", (bytes: Buffer) => {
      if (!this.#pass(bytes, (one) => client.write(one), "received")) out.pause();
    });
    client.on("drain", () => out.resume());
    client.on("end", () => out.end());
    out.on("end", () => client.end());
    client.resume();
  }

  #pass(bytes: Buffer, write: (bytes: Buffer) => boolean, way: "sent" | "received"): boolean {
    if (!this.#options.count(bytes.length)) {
      this.end("limit");
      return true;
    }
    if (way === "sent") this.#sent += bytes.length;
    else this.#received += bytes.length;
    return write(bytes);
  }
}

/** @throws ERR_EGRESS_REQUEST */
function targetOf(url: string): { host: string; port: number } {
  const found = TARGET.exec(url.toLowerCase());
  const [, host = "", port = ""] = found ?? [];
  if (found !== null && Number(port) < 65_536) return { host, port: Number(port) };
  const text = "Expected CONNECT to a host and a port, such as registry.npmjs.org:443.";
  throw new SovereignError("ERR_EGRESS_REQUEST", text);
}

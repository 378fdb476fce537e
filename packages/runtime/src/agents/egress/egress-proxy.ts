import { timingSafeEqual } from "node:crypto";
import { chmodSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { connect, isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { isSovereignError, sha256, SovereignError } from "@sovereign/core";
import { every } from "../../system/index.ts";
import { isPublicAddress, resolveChecked, type Resolver, systemResolver } from "../addresses.ts";
import { type ClientHello, readClientHello } from "./client-hello.ts";
import type { EgressCalls, EgressEnd, EgressRefusal } from "./egress-calls.ts";
import { type EgressLimits, egressLimits } from "./protocol.ts";

const CODES = { address: "ERR_EGRESS_ADDRESS", unreachable: "ERR_EGRESS_UNREACHABLE" } as const;
const LOOK_MS = 25;
/** Of the addresses that a name has, so many are tried. */
const ADDRESSES_MAX = 4;
const TARGET = /^([a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]):([1-9]\d{0,4})$/;

export interface EgressProxyOptions {
  /** SHA-256 of the token that a client shows, as the password of its proxy URL. */
  readonly tokenSha256: Uint8Array;
  readonly calls: EgressCalls;
  /** The kill switch, for this run; null while it is armed. */
  readonly stopped: () => EgressRefusal | null;
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
    this.#limits = egressLimits.parse(options.limits ?? {});
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
      if (this.#tunnels.size > 0 && options.stopped() !== null) this.stop();
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
    const { calls, stopped } = this.#options;
    let target = "";
    try {
      this.#checkToken(request);
      const { host, port } = targetOf(request.url ?? "");
      target = `${host}:${port}`;
      this.#requireRoom();
      const tunnel = new Tunnel({
        client,
        host,
        port,
        calls,
        stopped,
        limits: this.#limits,
        count: (bytes) => (this.#bytes += bytes) <= this.#limits.bytesMax,
      });
      // While it is decided on, it has its place.
      this.#tunnels.add(tunnel);
      try {
        const denial = await calls.decide(host, port);
        if (denial !== null) throw new SovereignError(denial.code, denial.reason);
        const { resolver = systemResolver, allowed = isPublicAddress } = this.#options;
        await tunnel.run(head, () => resolveChecked(host, allowed, resolver, CODES));
      } finally {
        this.#tunnels.delete(tunnel);
        tunnel.finish();
      }
    } catch (error) {
      await this.#refuse(client, target, error);
    }
  }

  /** @throws ERR_SCRAM_TRIPPED, ERR_EGRESS_LIMIT */
  #requireRoom(): void {
    const { connectionsMax, openMax, bytesMax } = this.#limits;
    const stop = this.#options.stopped();
    if (stop !== null) throw new SovereignError(stop.code, stop.reason);
    this.#asked += 1;
    const full = this.#asked > connectionsMax || this.#tunnels.size >= openMax;
    if (!full && this.#bytes < bytesMax) return;
    const text = `The step has used up its connections (${connectionsMax}, ${openMax} at once) or its bytes (${bytesMax}).`;
    throw new SovereignError("ERR_EGRESS_LIMIT", text);
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
    await this.#options.calls.refused(target, code, text).catch(() => {
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
  readonly calls: EgressCalls;
  readonly stopped: () => EgressRefusal | null;
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
  #isEnded = false;
  #sent = 0;
  #received = 0;

  constructor(options: TunnelOptions) {
    this.#options = options;
    this.done = this.#finished.promise;
  }

  end(how: EgressEnd): void {
    this.#isEnded = true;
    this.#ended.resolve(how);
    this.#out?.destroy();
    this.#options.client.destroy();
  }

  /** Nothing of it is left to be recorded. */
  finish(): void {
    this.#finished.resolve(undefined);
  }

  async run(head: Buffer, resolve: () => Promise<readonly string[]>): Promise<void> {
    const { client, host, port, calls } = this.#options;
    client.once("close", () => {
      this.end("closed");
    });
    try {
      client.write("HTTP/1.1 200 Connection Established\r\n\r\n");
      const hello = await this.#hello(head);
      const addresses = (await resolve()).slice(0, ADDRESSES_MAX);
      for (const address of addresses) if (await this.#through(address, hello)) return;
    } catch (error) {
      // After the 200 there is no way to say why: the record says it.
      const known = isSovereignError(error);
      const text = known ? error.message : "the connection failed";
      const code = known ? error.code : "ERR_HTTP_FAILED";
      // Where the record fails, too, the tunnel is not opened all the same.
      await calls.refused(`${host}:${port}`, code, text).catch(() => undefined);
    } finally {
      client.destroy();
    }
  }

  /**
   * One connection to one address, from the record of its beginning to that of its end.
   * @returns false where nobody answers there, and another address may be tried
   */
  async #through(address: string, hello: Buffer): Promise<boolean> {
    const { host, port, calls, client, stopped } = this.#options;
    const stop = stopped();
    if (stop !== null) throw new SovereignError(stop.code, stop.reason);
    if (client.destroyed) return true;
    const connection = await calls.connected(host, port, address);
    // The switch may have tripped while it was recorded.
    if (stopped() !== null) this.end("stopped");
    const out = await this.#reach(address);
    if (out !== null) this.#join(out, hello);
    else if (!this.#hasEnded()) {
      await calls.closed(connection, "failed", 0, 0);
      return false;
    }
    const how = await this.#ended.promise;
    client.destroy();
    out?.destroy();
    await calls.closed(connection, how, this.#sent, this.#received);
    return true;
  }

  /** Asked anew each time: whatever waits meanwhile may have ended it. */
  #hasEnded(): boolean {
    return this.#isEnded;
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

  /**
   * Connect to an address that was looked at; no name is resolved again.
   * @returns null where nobody answers there, or where it has ended meanwhile
   */
  #reach(address: string): Promise<Socket | null> {
    const { port, limits } = this.#options;
    if (this.#isEnded) return Promise.resolve(null);
    const { promise, resolve } = Promise.withResolvers<Socket | null>();
    const out = connect({ host: address, port });
    this.#out = out;
    const fail = (): void => {
      out.destroy();
      resolve(null);
    };
    const timer = setTimeout(fail, limits.connectMs);
    out.once("connect", () => {
      resolve(out);
    });
    out.on("error", fail);
    out.once("close", fail);
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

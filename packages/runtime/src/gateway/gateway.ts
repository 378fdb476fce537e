import { chmodSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import {
  cutText,
  type ErrorCode,
  isSovereignError,
  parseFormat,
  parseStrictJson,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import {
  type EgressCalls,
  type EgressEnd,
  type EgressRefusal,
  isLiteralHost,
  isPublicAddress,
  namesLoopback,
  type OpenedSecret,
  resolveChecked,
  type Resolver,
  systemResolver,
} from "../agents/index.ts";
import { every } from "../system/index.ts";
import { type Carried, carryOut, targetOf } from "./carry-out.ts";
import { maskText } from "./mask.ts";
import { type GatewayAsk, gatewayAsk, type GrantedPlace, LINE_BYTES_MAX } from "./protocol.ts";
import { SecretPlaces } from "./secrets-in.ts";
import type { Wire } from "./wire.ts";

const LOOK_MS = 25;
const CLIENTS_MAX = 64;
const ASK_MS = 30_000;
const LEAVE_MS = 5000;
/** Of the addresses that a name has, so many are tried. */
const ADDRESSES_MAX = 4;

/** What one step may do, until it is revoked. */
export interface GrantOptions {
  /** SHA-256 of the token that the host shows, in hex. */
  readonly tokenSha256: string;
  readonly place: GrantedPlace;
  readonly secrets: readonly string[];
  readonly calls: Pick<EgressCalls, "connected" | "closed" | "refused">;
  readonly openSecret: (name: string) => Promise<OpenedSecret>;
}

export interface GatewayOptions {
  /** The kill switch, for this run; null while it is armed. */
  readonly stopped: () => EgressRefusal | null;
  readonly resolver?: Resolver;
}

/**
 * The only way from a skill host to a server. It takes a request whose secrets are names, puts their
 * values in, makes the request itself, and answers with what came back, without them. A step reaches
 * one place, and each connection is recorded before it is made.
 */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #server: Server;
  readonly #grants = new Map<string, Grant>();
  readonly #stopLooking: () => void;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#server = createServer((client) => {
      void this.#serve(client);
    });
    this.#server.maxConnections = CLIENTS_MAX;
    this.#stopLooking = every(LOOK_MS, () => {
      if (this.#grants.size > 0 && options.stopped() !== null) this.stop();
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

  /** Let a step reach its place. */
  grant(options: GrantOptions): void {
    this.#grants.set(options.tokenSha256, new Grant(options, this.#options));
  }

  /** Resolves when all that it has open is cut, and recorded. */
  async revoke(tokenSha256: string): Promise<void> {
    const grant = this.#grants.get(tokenSha256);
    this.#grants.delete(tokenSha256);
    await grant?.end("closed");
  }

  /** The kill switch: cut everything now. */
  stop(): void {
    for (const grant of this.#grants.values()) void grant.end("stopped");
  }

  async close(): Promise<void> {
    this.#stopLooking();
    await Promise.all([...this.#grants.keys()].map((one) => this.revoke(one)));
    this.#server.close();
  }

  /** One line asks, and one line answers. */
  async #serve(client: Socket): Promise<void> {
    client.on("error", () => undefined);
    const timer = setTimeout(() => client.destroy(), ASK_MS);
    try {
      const line = await readLine(client);
      clearTimeout(timer);
      const ask = parseFormat(gatewayAsk, parseStrictJson(line), "request", "ERR_SKILL_INPUT");
      const grant = this.#grants.get(sha256Hex(Buffer.from(ask.token)));
      if (grant === undefined)
        throw new SovereignError("ERR_MODEL_TOKEN", "The token is no step's.");
      const answer = await grant.perform(ask);
      client.end(`${JSON.stringify({ ok: true, answer })}\n`);
    } catch (error) {
      const { code, message, mayHaveHappened } = Failure.of(error);
      client.end(`${JSON.stringify({ ok: false, code, text: message, mayHaveHappened })}\n`);
    } finally {
      clearTimeout(timer);
      // Who does not close has had its answer.
      setTimeout(() => client.destroy(), LEAVE_MS).unref();
    }
  }
}

/** What the host is told of a request that failed. */
class Failure extends Error {
  readonly code: ErrorCode;
  readonly mayHaveHappened: boolean;

  constructor(code: ErrorCode, text: string, mayHaveHappened: boolean) {
    super(text);
    this.code = code;
    this.mayHaveHappened = mayHaveHappened;
  }

  static of(error: unknown): Failure {
    if (error instanceof Failure) return error;
    if (isSovereignError(error)) return new Failure(error.code, error.message, false);
    return new Failure("ERR_SKILL_FAILED", "the gateway could not do it", false);
  }
}

class Grant {
  readonly #options: GrantOptions;
  readonly #gateway: GatewayOptions;
  readonly #stop = new AbortController();
  readonly #working = new Set<Promise<unknown>>();
  readonly #place: string;
  #how: EgressEnd = "closed";

  constructor(options: GrantOptions, gateway: GatewayOptions) {
    this.#options = options;
    this.#gateway = gateway;
    const { host, port } = options.place;
    this.#place = port === 443 ? host : `${host}:${port}`;
  }

  async end(how: EgressEnd): Promise<void> {
    this.#how = how;
    this.#stop.abort();
    await Promise.allSettled(this.#working);
  }

  perform(ask: GatewayAsk): Promise<Carried> {
    const work = this.#perform(ask);
    this.#working.add(work);
    const done = (): void => {
      this.#working.delete(work);
    };
    work.then(done, done);
    return work;
  }

  async #perform(ask: GatewayAsk): Promise<Carried> {
    const { secrets, openSecret, calls, place } = this.#options;
    const target = targetOf(ask);
    try {
      this.#requireArmed();
      if (target.host !== place.host || target.port !== place.port) {
        const text = `The step may reach ${this.#place}, not ${target.host}:${target.port}.`;
        throw new SovereignError("ERR_EGRESS_DENIED", text);
      }
      const isProtected = target.isProtected || namesLoopback(place.host);
      const places = new SecretPlaces(secrets, openSecret, this.#place, isProtected);
      const filled = await carryOut(ask, target, places);
      const addresses = await this.#addresses();
      return await this.#through(addresses, filled, places);
    } catch (error) {
      if (isSovereignError(error) && error.code !== "ERR_SKILL_FAILED") {
        // What cannot be recorded is told to the host all the same: nothing was connected.
        const said = `${target.host}:${target.port}`;
        await calls.refused(said, error.code, error.message).catch(() => undefined);
      }
      throw error;
    }
  }

  /** @throws ERR_SKILL_ADDRESS, ERR_SKILL_FAILED */
  async #addresses(): Promise<readonly string[]> {
    const { host: name, isOpen } = this.#options.place;
    const host = name.replace(/^\[(.*)\]$/, "$1");
    const mayBePrivate = isOpen && isLiteralHost(host);
    const { resolver = systemResolver } = this.#gateway;
    try {
      return await resolveChecked(host, (one) => mayBePrivate || isPublicAddress(one), resolver);
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      if (error.code === "ERR_MODEL_ADDRESS") {
        const text = `${this.#place}: expected public addresses. A private one is called where the policy names it exactly, as in resources: ["${this.#place}"], and the address itself is given.`;
        throw new SovereignError("ERR_SKILL_ADDRESS", text, {}, error);
      }
      throw new SovereignError("ERR_SKILL_FAILED", `${this.#place} cannot be resolved`, {}, error);
    }
  }

  /** Each address in turn, until one answers. */
  async #through(
    addresses: readonly string[],
    work: (wire: Wire) => Promise<Carried>,
    places: SecretPlaces,
  ): Promise<Carried> {
    const { calls, place } = this.#options;
    let last: Failure | null = null;
    for (const address of addresses.slice(0, ADDRESSES_MAX)) {
      this.#requireArmed();
      const connection = await calls.connected(place.host, place.port, address);
      const wire: Wire = { signal: this.#stop.signal, address, sent: 0, received: 0 };
      let how: EgressEnd = "failed";
      try {
        const answer = await work(wire);
        how = "closed";
        return answer;
      } catch (error) {
        if (this.#stop.signal.aborted) how = this.#how;
        last = this.#failureOf(error, wire, places);
        if (isSovereignError(error) || wire.sent > 0 || this.#stop.signal.aborted) throw last;
      } finally {
        await calls.closed(connection, how, wire.sent, wire.received);
      }
    }
    throw last ?? new SovereignError("ERR_SKILL_FAILED", `${this.#place} has no address`);
  }

  /** Of what is not ours only its code is told: a message may quote what a server said. */
  #failureOf(error: unknown, wire: Wire, places: SecretPlaces): Failure {
    if (isSovereignError(error)) {
      const said = maskText(error.message, places.used);
      return new Failure(error.code, said, error.details["mayHaveHappened"] === true);
    }
    const { code = "" } = error as NodeJS.ErrnoException;
    const why = /^[A-Z_0-9]{1,60}$/.test(code) ? code : "it failed";
    const text = cutText(`${this.#place} did not answer: ${why}`, 500);
    return new Failure("ERR_SKILL_FAILED", text, wire.sent > 0);
  }

  #requireArmed(): void {
    const stop = this.#gateway.stopped();
    if (stop !== null) throw new SovereignError(stop.code, stop.reason);
    if (!this.#stop.signal.aborted) return;
    throw new SovereignError("ERR_EGRESS_DENIED", "The step has ended.");
  }
}

function readLine(client: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    const fail = (text: string): void => {
      reject(new SovereignError("ERR_SKILL_INPUT", text));
    };
    client.on("data", (part) => {
      const bytes = Buffer.from(part);
      size += bytes.length;
      if (size <= LINE_BYTES_MAX) parts.push(bytes);
      if (size > LINE_BYTES_MAX) {
        // What follows is read, and dropped: else nobody would read the answer.
        parts.length = 0;
        fail(`a request has at most ${LINE_BYTES_MAX} bytes`);
      } else if (bytes.includes(0x0a)) {
        const whole = Buffer.concat(parts);
        resolve(whole.subarray(0, whole.indexOf(0x0a)));
      }
    });
    client.on("close", () => {
      fail("the request ended too early");
    });
  });
}

import { timingSafeEqual } from "node:crypto";
import { chmodSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import {
  cutText,
  canonicalBytes,
  type ErrorCode,
  isSovereignError,
  type ModelWire,
  SovereignError,
  sha256,
} from "@sovereign/core";
import type { ScramGate } from "../../kernel/index.ts";
import { every } from "../../system/index.ts";
import { type Resolver, systemResolver } from "../addresses.ts";
import { ModelCall } from "./call.ts";
import type { ProxyLimits } from "./limits.ts";
import { readAll, sendError, sendJson } from "./messages.ts";
import type { ModelCalls } from "./model-calls.ts";
import { readRequest } from "./request.ts";
import { isAnthropic, routeOf } from "./routes.ts";
import { Upstream } from "./upstream.ts";
import type { OpenedVendor } from "./vendor.ts";
import { statusOf } from "./vendor-errors.ts";

/** How often the kill switch is looked at while something is open. */
const LOOK_MS = 25;

/** A run that may call models, until it ends. */
export interface AdmittedRun {
  readonly owner: { readonly tenant_id: string; readonly run_id: string };
  /** SHA-256 of the token that stands in for the key. */
  readonly tokenSha256: Uint8Array;
  readonly vendor: OpenedVendor;
  /** What `/v1/models` lists. */
  readonly models: readonly string[];
  readonly calls: ModelCalls;
}

export interface ModelProxyOptions {
  readonly gate: ScramGate;
  readonly limits: ProxyLimits;
  readonly resolver?: Resolver;
}

interface OpenRun extends AdmittedRun {
  readonly upstream: Upstream;
  readonly open: Set<ModelCall>;
  /** How many requests are read or answered. */
  busy: number;
}

/**
 * The only way from a sandbox to a model. It holds the vendors' keys; a client holds a token that is
 * good for one run. Nothing is sent before the call is allowed and held, and no answer is whole
 * before the call is recorded.
 */
export class ModelProxy {
  readonly #options: ModelProxyOptions;
  readonly #server: Server;
  readonly #runs = new Map<string, OpenRun>();
  readonly #stopLooking: () => void;

  constructor(options: ModelProxyOptions) {
    this.#options = options;
    const { requestMs, connectionsMax } = options.limits;
    this.#server = createServer(
      { requestTimeout: requestMs, headersTimeout: Math.min(requestMs, 10_000) },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = connectionsMax;
    this.#server.on("checkContinue", (_, response: ServerResponse) => {
      response.writeHead(417).end();
    });
    this.#stopLooking = every(LOOK_MS, () => {
      this.#cutStopped();
    });
  }

  /** @param socket where it listens; whoever reaches it still needs a token */
  async listen(socket: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(socket, resolve);
    });
    // In a sandbox whoever asks is another user; the folder around it is ours alone.
    chmodSync(socket, 0o666);
  }

  admit(run: AdmittedRun): void {
    const upstream = new Upstream(run.vendor, this.#options.resolver ?? systemResolver);
    this.#runs.set(run.owner.run_id, { ...run, upstream, open: new Set(), busy: 0 });
  }

  /** The token is good for nothing from here on, and what is open is cut. */
  end(runId: string): void {
    const run = this.#runs.get(runId);
    if (run === undefined) return;
    this.#runs.delete(runId);
    this.#cut(run, "cancelled", "ERR_MODEL_TOKEN", "the run has ended");
    run.upstream.close();
  }

  /** The kill switch: cut everything now. */
  stop(reason: string): void {
    for (const run of this.#runs.values()) this.#cut(run, "stopped", "ERR_SCRAM_TRIPPED", reason);
  }

  async close(): Promise<void> {
    this.#stopLooking();
    for (const runId of [...this.#runs.keys()]) this.end(runId);
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #cut(run: OpenRun, how: "stopped" | "cancelled", code: ErrorCode, reason: string): void {
    for (const call of run.open) call.cut(how, code, reason);
  }

  #cutStopped(): void {
    for (const run of this.#runs.values()) {
      if (run.open.size === 0) continue;
      const gate = this.#options.gate.preflight(run.owner);
      if (!gate.armed) this.#cut(run, "stopped", gate.code, gate.reason);
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { url = "", method = "" } = request;
    const shape = isAnthropic(url) ? "anthropic" : "openai";
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    try {
      await this.#route(method, url, request, response);
    } catch (error) {
      const known = isSovereignError(error);
      const code = known ? error.code : "ERR_HTTP_FAILED";
      const text = known ? error.message : "the request failed here";
      // Of a body that was not read nothing more is taken.
      if (!request.complete) response.setHeader("connection", "close");
      sendError(response, shape, statusOf(code), `${code}: ${text}`, {});
      if (!request.complete) response.once("finish", () => request.destroy());
    }
  }

  async #route(
    method: string,
    url: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const route = routeOf(method, url);
    if (route === null) {
      const text = `There is no ${method.slice(0, 10)} ${cutText(url, 100)} here.`;
      throw new SovereignError("ERR_MODEL_PATH", text);
    }
    if (route.kind === "hello") {
      response.writeHead(200).end();
      return;
    }
    const run = this.#runOf(request);
    if (route.kind === "models") {
      const data = run.models.map((id) => ({ id, object: "model", type: "model" }));
      sendJson(response, 200, canonicalBytes({ object: "list", data, has_more: false }), {});
      return;
    }
    const { callsMax } = this.#options.limits;
    // Before a body is read: each may fill memory.
    if (run.busy >= callsMax) {
      throw new SovereignError("ERR_MODEL_BUSY", `${callsMax} calls are in flight already.`);
    }
    run.busy += 1;
    try {
      await this.#call(run, route.wire, request, response);
    } finally {
      run.busy -= 1;
    }
  }

  async #call(
    run: OpenRun,
    wire: ModelWire,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { limits, gate } = this.#options;
    const { vendor, upstream, calls, owner, open } = run;
    if (!vendor.wires.includes(wire)) {
      const text = `The vendor ${vendor.name} does not speak ${wire}.`;
      throw new SovereignError("ERR_MODEL_PATH", text);
    }
    const state = gate.preflight(owner);
    if (!state.armed) throw new SovereignError(state.code, state.reason);
    const asked = readRequest(wire, await this.#body(request), vendor.outputField);
    const stopped = (): { code: ErrorCode; reason: string } | null => {
      const now = gate.preflight(owner);
      if (this.#runs.get(owner.run_id) !== run) {
        return { code: "ERR_MODEL_TOKEN", reason: "the run has ended" };
      }
      return now.armed ? null : now;
    };
    const parts = { vendor, upstream, calls, limits, stopped };
    const call = new ModelCall(parts, asked, request, response);
    open.add(call);
    response.on("close", () => {
      if (!response.writableFinished) call.cut("cancelled", "ERR_MODEL_TOKEN", "the client left");
    });
    try {
      await call.run();
    } finally {
      open.delete(call);
    }
  }

  async #body(request: IncomingMessage): Promise<Buffer> {
    const { limits } = this.#options;
    const { "content-encoding": encoding, "content-type": type = "" } = request.headers;
    if (encoding !== undefined || !/^application\/json\s*(;|$)/i.test(type)) {
      const text = "Expected a body of the type application/json, without an encoding.";
      throw new SovereignError("ERR_MODEL_REQUEST", text);
    }
    const error = new SovereignError("ERR_MODEL_REQUEST", "The request does not come to its end.");
    return readAll(request, limits.requestBytesMax, { ms: limits.requestMs, error });
  }

  /** Every token is compared, whole, so that the time tells nothing. @throws ERR_MODEL_TOKEN */
  #runOf(request: IncomingMessage): OpenRun {
    const { "x-api-key": key, authorization } = request.headers;
    const bearer = /^Bearer (\S+)$/i.exec(authorization ?? "")?.[1];
    const given = [key, bearer].filter((one) => typeof one === "string");
    const [token] = given;
    let found: OpenRun | null = null;
    if (token !== undefined && given.every((one) => one === token)) {
      const digest = sha256(Buffer.from(token));
      for (const run of this.#runs.values()) {
        if (timingSafeEqual(run.tokenSha256, digest)) found = run;
      }
    }
    if (found !== null) return found;
    const text = "The token belongs to no running run.";
    throw new SovereignError("ERR_MODEL_TOKEN", text);
  }
}

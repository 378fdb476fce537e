import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Action, type ActionContext, type JsonObject, SovereignError } from "@sovereign/core";
import type { EgressDesk } from "../agents/index.ts";
import type { GatewayProcess, OpenGrant } from "../gateway/index.ts";
import { parseHost } from "../policy/index.ts";
import type { Sandbox } from "../sandbox/index.ts";
import { Turns } from "../system/index.ts";
import type { LentDoor } from "./own-run.ts";
import { type HostAnswer, SkillHost } from "./skill-host.ts";

/** Where the sandbox sees the gateway's folder. */
const GATEWAY = "/sovereign/gateway";
const SOCKET = "gateway.sock";

export interface SkillNetworkOptions {
  readonly sandbox: Sandbox;
  /** Ends the host with the run. */
  readonly signal: AbortSignal;
  /** @param socket where the gateway is to listen */
  readonly startGateway: (socket: string) => Promise<Pick<GatewayProcess, "grant" | "close">>;
  /** @param socket where the model proxy is to listen */
  readonly openModel: (call: ModelCall, socket: string) => Promise<OpenModel>;
  /** Who decides on a step's connections, and records them. */
  readonly deskFor: (action: Action, context: ActionContext) => Promise<EgressDesk>;
}

/** A step that reaches a server. */
export interface NetworkCall extends LentStep {
  readonly request: JsonObject;
}

/** What a step reaches, and with what. */
export interface LentStep {
  readonly action: Action;
  readonly context: ActionContext;
  /** As the policy names it. */
  readonly host: string;
  /** True where the policy names exactly this host. */
  readonly isNamed: boolean;
  /** Names of the secrets that the step refers to. */
  readonly secrets: readonly string[];
}

/** A step that asks a model. */
export interface ModelCall {
  readonly request: JsonObject;
  readonly context: ActionContext;
  readonly vendor: string;
  readonly model: string;
}

/** A way to one model, for one step. */
export interface OpenModel {
  readonly token: string;
  /** How its vendor is spoken to. */
  readonly wire: string;
  /** Resolves when what was used is recorded. @returns that; money in millionths of a dollar */
  close(): Promise<{ readonly microusd: number; readonly tokens: number }>;
}

export type ModelAnswer = HostAnswer & { readonly costMicrousd: number; readonly tokens: number };

/** Runs skills that reach servers: in a host in the sandbox, whose only network is the gateway. */
export interface SkillNetwork {
  /** Start what the calls need: a step's time begins after that. */
  ready(): Promise<void>;
  perform(call: NetworkCall, signal: AbortSignal): Promise<HostAnswer>;
  /** A way through the gateway for another sandbox, as long as the work takes. */
  lend<T>(step: LentStep, signal: AbortSignal, work: (door: LentDoor) => Promise<T>): Promise<T>;
  converse(call: ModelCall, signal: AbortSignal): Promise<ModelAnswer>;
}

interface Live {
  readonly gateway: Pick<GatewayProcess, "grant" | "close">;
  readonly host: SkillHost;
  readonly folder: string;
  /** The gateway, as a sandbox sees it. */
  readonly at: Omit<LentDoor, "token">;
}

/** One gateway and one host for a run; both start with its first step that has a network. */
export class SandboxedNetwork implements SkillNetwork {
  readonly #options: SkillNetworkOptions;
  #live: Promise<Live> | null = null;
  readonly #turns = new Turns();
  #models = 0;

  constructor(options: SkillNetworkOptions) {
    this.#options = options;
  }

  async ready(): Promise<void> {
    const { host } = await (this.#live ??= this.#start());
    await host.ready();
  }

  perform({ request, ...step }: NetworkCall, signal: AbortSignal): Promise<HostAnswer> {
    return this.lend(step, signal, async ({ token }) => {
      const { host } = await (this.#live ??= this.#start());
      return host.call({ ...request, token }, signal);
    });
  }

  async lend<T>(
    { action, context, host: named, isNamed, secrets }: LentStep,
    signal: AbortSignal,
    work: (door: LentDoor) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    const { gateway, at } = await (this.#live ??= this.#start());
    const desk = await this.#options.deskFor(action, context);
    const { name, port } = parseHost(named);
    const place = { host: name, port: Number(port ?? "443"), isOpen: isNamed };
    try {
      const grant = await gateway.grant({ desk, place, secrets });
      return await throughGrant(grant, signal, (token) => work({ token, ...at }));
    } catch (error) {
      const lost = desk.unrecorded;
      if (lost === null || signal.aborted) throw error;
      // The host hears of it as of any failure, and its word is not what decides.
      const { code, message } = lost;
      throw new SovereignError(code, message, { mayHaveHappened: desk.hasBegun }, error);
    }
  }

  /** One after another: each counts on what the one before it has used up. */
  converse(call: ModelCall, signal: AbortSignal): Promise<ModelAnswer> {
    return this.#turns.take(() => this.#converse(call, signal));
  }

  async #converse(call: ModelCall, signal: AbortSignal): Promise<ModelAnswer> {
    signal.throwIfAborted();
    this.#live ??= this.#start();
    const { host, folder } = await this.#live;
    const name = `model-${this.#models++}.sock`;
    const door = await this.#options.openModel(call, join(folder, name));
    let closed: ReturnType<OpenModel["close"]> | null = null;
    const close = (): ReturnType<OpenModel["close"]> => (closed ??= door.close());
    const cut = (): void => {
      // Whoever waits for it below is told.
      close().catch(() => undefined);
    };
    signal.addEventListener("abort", cut);
    try {
      const model = { socket: `${GATEWAY}/${name}`, wire: door.wire };
      const answer = await host.call({ ...call.request, token: door.token, model }, signal);
      const { microusd, tokens } = await close();
      return { ...answer, costMicrousd: microusd, tokens };
    } finally {
      signal.removeEventListener("abort", cut);
      await close();
    }
  }

  /** Resolves when nothing of it is left. */
  async close(): Promise<void> {
    const live = await this.#live?.catch(() => null);
    this.#live = null;
    if (live === null || live === undefined) return;
    await live.host.close();
    await live.gateway.close();
    rmSync(live.folder, { recursive: true, force: true });
  }

  async #start(): Promise<Live> {
    const { sandbox, signal, startGateway } = this.#options;
    const folder = mkdtempSync(join(tmpdir(), "sov-gateway-"));
    try {
      const gateway = await startGateway(join(folder, SOCKET));
      const mount = { source: folder, target: GATEWAY, own: true };
      const at = { socket: `${GATEWAY}/${SOCKET}`, mount };
      return { gateway, folder, at, host: new SkillHost({ sandbox, signal, gateway: at }) };
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      this.#live = null;
      throw error;
    }
  }
}

async function throughGrant<T>(
  grant: OpenGrant,
  signal: AbortSignal,
  work: (token: string) => Promise<T>,
): Promise<T> {
  // When the step's time is over its connections are cut, also where the host does not end it.
  const cut = (): void => {
    // Where it cannot be recorded, the end below says so.
    grant.end().catch(() => undefined);
  };
  signal.addEventListener("abort", cut);
  try {
    return await work(grant.token);
  } finally {
    signal.removeEventListener("abort", cut);
    await grant.end();
  }
}

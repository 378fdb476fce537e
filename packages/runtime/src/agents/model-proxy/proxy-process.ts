import {
  cutText,
  hexEncode,
  isSovereignError,
  parseFormat,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import type { Entropy } from "../../system/index.ts";
import { ProxyChild } from "../proxy-child.ts";
import type { ProxyLimits } from "./limits.ts";
import type { ModelCalls } from "./model-calls.ts";
import { type ToControl, toControl } from "./protocol.ts";

export interface ModelProxyProcessOptions {
  /** `programCommand("model-proxy")`. */
  readonly command: readonly [string, ...string[]];
  /** The data folder: the proxy reads the vendors' files and the kill switch's state there. */
  readonly home: string;
  /** Where it listens: at most 107 bytes, in a folder that is ours alone. */
  readonly socket: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly entropy: Entropy;
}

export interface ProxiedRun {
  readonly owner: { readonly tenant_id: string; readonly run_id: string };
  /** The vendor's name in `sovereign models list`. */
  readonly vendor: string;
  /** What `/v1/models` lists. */
  readonly models: readonly string[];
  readonly calls: ModelCalls;
  readonly limits?: Partial<ProxyLimits>;
}

/** What stands in for a key, as long as the run goes on. */
export interface ProxyGrant {
  readonly token: string;
  /** Ends it: the token is good for nothing afterwards. */
  end(): Promise<void>;
}

/**
 * A model proxy that this process started, and that ends with it. It may be asked for several runs.
 */
export class ModelProxyProcess {
  readonly socket: string;
  readonly #child: ProxyChild;
  readonly #entropy: Entropy;
  readonly #runs = new Map<string, ModelCalls>();

  private constructor(options: ModelProxyProcessOptions) {
    const { command, home, socket, environment, entropy } = options;
    const [program, ...args] = command;
    this.socket = socket;
    this.#entropy = entropy;
    this.#child = new ProxyChild({
      service: "model-proxy",
      name: "model proxy",
      code: "ERR_MODEL_PROXY",
      command: [program, ...args, home, socket],
      environment,
      onMessage: (message) => {
        this.#take(parseFormat(toControl, message, "the model proxy's message"));
      },
      // The open calls count as what was held for them.
      onGone: () =>
        Promise.allSettled(
          [...this.#runs.values()].map((calls) => calls.abandon?.() ?? Promise.resolve()),
        ),
    });
  }

  /** @throws ERR_MODEL_PROXY */
  static async start(options: ModelProxyProcessOptions): Promise<ModelProxyProcess> {
    const proxy = new ModelProxyProcess(options);
    await proxy.#child.ready();
    return proxy;
  }

  get pid(): number | null {
    return this.#child.pid;
  }

  /** Resolved when the process is gone, whatever ended it. */
  get closed(): Promise<void> {
    return this.#child.closed;
  }

  /**
   * Let a run call models.
   * @throws ERR_MODEL_VENDOR_UNKNOWN, ERR_KEY_PASSPHRASE, ERR_MODEL_PROXY
   */
  async admit(run: ProxiedRun): Promise<ProxyGrant> {
    const { owner, vendor, models, calls, limits = {} } = run;
    const token = hexEncode(this.#entropy.bytes(32));
    this.#runs.set(owner.run_id, calls);
    await this.#child.ask({
      type: "admit",
      owner: { ...owner },
      token_sha256: sha256Hex(Buffer.from(token)),
      vendor,
      models: [...models],
      limits: { ...limits },
    });
    return {
      token,
      end: async () => {
        // One that is gone has ended it.
        await this.#child.ask({ type: "end", run_id: owner.run_id }).catch(() => undefined);
      },
    };
  }

  /** The kill switch: every answer is cut, and what was used is recorded. */
  stop(reason: string): void {
    this.#child.stop(reason);
  }

  kill(): void {
    this.#child.kill();
  }

  /** End the process. */
  close(): Promise<void> {
    return this.#child.close();
  }

  #take(message: ToControl): void {
    switch (message.type) {
      case "ready":
      case "done":
      case "failed":
        this.#child.answered(message);
        break;
      case "reserve":
        void this.#reserve(message);
        break;
      case "settle":
        void this.#settle(message);
    }
  }

  async #reserve({ id, run_id, request }: Extract<ToControl, { type: "reserve" }>): Promise<void> {
    try {
      const verdict = await this.#callsOf(run_id).reserve(request);
      if (verdict.allowed) this.#child.send({ type: "allowed", id, call: verdict.call });
      else this.#child.send({ type: "refused", id, code: verdict.code, reason: verdict.reason });
    } catch (error) {
      this.#refuse(id, error);
    }
  }

  async #settle({
    id,
    run_id,
    call,
    outcome,
  }: Extract<ToControl, { type: "settle" }>): Promise<void> {
    try {
      await this.#callsOf(run_id).settle(call, outcome);
      this.#child.send({ type: "recorded", id });
    } catch (error) {
      this.#refuse(id, error);
    }
  }

  /** What cannot be recorded is not allowed, and not handed on. */
  #refuse(id: number, error: unknown): void {
    const code = isSovereignError(error) ? error.code : "ERR_MODEL_PROXY";
    const why = error instanceof Error ? error.message : "unknown";
    const reason = cutText(`the call cannot be recorded: ${why}`, 1000);
    this.#child.send({ type: "refused", id, code, reason });
  }

  #callsOf(runId: string): ModelCalls {
    const calls = this.#runs.get(runId);
    if (calls === undefined) throw new SovereignError("ERR_MODEL_TOKEN", "No such run goes on.");
    return calls;
  }
}

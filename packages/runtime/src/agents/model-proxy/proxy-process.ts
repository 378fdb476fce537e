import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import {
  hexEncode,
  isSovereignError,
  type JsonObject,
  parseFormat,
  sha256Hex,
  SovereignError,
} from "@sovereign/core";
import { startTrustedService } from "../../process/index.ts";
import type { Entropy } from "../../system/index.ts";
import { LineChannel } from "../channel.ts";
import type { ProxyLimits } from "./limits.ts";
import type { ModelCalls } from "./model-calls.ts";
import { type ToControl, toControl } from "./protocol.ts";

/** After a stop the proxy has so long to cut and record its calls; then it is killed. */
const STOP_MS = 250;
const START_MS = 15_000;

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

/** What of the environment the proxy gets: nothing that holds a secret, or leads elsewhere. */
const PASSED = ["PATH", "SOVEREIGN_PASSPHRASE_FILE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"];

/**
 * A model proxy that this process started, and that ends with it. It may be asked for several runs.
 */
export class ModelProxyProcess {
  readonly socket: string;
  /** Resolved when the process is gone, whatever ended it. */
  readonly closed: Promise<void>;
  readonly #child: ChildProcess;
  readonly #channel: LineChannel;
  readonly #entropy: Entropy;
  readonly #runs = new Map<string, ModelCalls>();
  readonly #waiting = new Map<number, (error: SovereignError | null) => void>();
  readonly #ready = Promise.withResolvers<undefined>();
  #gone = false;
  #next = 0;
  #said = "";

  private constructor(options: ModelProxyProcessOptions) {
    const { command, home, socket, environment, entropy } = options;
    this.socket = socket;
    this.#entropy = entropy;
    const [program, ...args] = command;
    const env = Object.fromEntries(
      PASSED.flatMap((name) => {
        const value = environment[name];
        return value === undefined ? [] : [[name, value]];
      }),
    );
    this.#child = startTrustedService("model-proxy", program, [...args, home, socket], {
      env,
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      detached: false,
    });
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#said = `${this.#said}${chunk.toString()}`.slice(-2000);
    });
    this.#child.on("error", (error) => (this.#said = error.message));
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.closed = promise;
    this.#channel = new LineChannel(
      this.#child.stdio[3] as Socket,
      (message) => {
        this.#take(parseFormat(toControl, message, "the model proxy's message"));
      },
      () => {
        void this.#onClosed().finally(() => {
          resolve(undefined);
        });
      },
    );
  }

  /** @throws ERR_MODEL_PROXY */
  static async start(options: ModelProxyProcessOptions): Promise<ModelProxyProcess> {
    const proxy = new ModelProxyProcess(options);
    const timer = setTimeout(() => {
      proxy.#ready.reject(proxy.#lost("it says nothing"));
    }, START_MS);
    try {
      await proxy.#ready.promise;
      return proxy;
    } catch (error) {
      proxy.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  /**
   * Let a run call models.
   * @throws ERR_MODEL_VENDOR_UNKNOWN, ERR_KEY_PASSPHRASE, ERR_MODEL_PROXY
   */
  async admit(run: ProxiedRun): Promise<ProxyGrant> {
    const { owner, vendor, models, calls, limits = {} } = run;
    const token = hexEncode(this.#entropy.bytes(32));
    this.#runs.set(owner.run_id, calls);
    await this.#ask({
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
        await this.#ask({ type: "end", run_id: owner.run_id }).catch(() => undefined);
      },
    };
  }

  /**
   * The kill switch: every answer is cut, and what was used is recorded. A proxy that does not end its
   * calls at once is killed.
   */
  stop(reason: string): void {
    this.#channel.send({ type: "stop", reason: reason.slice(0, 1000) });
    const timer = setTimeout(() => {
      this.kill();
    }, STOP_MS);
    void this.closed.then(() => {
      clearTimeout(timer);
    });
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** End the process. */
  async close(): Promise<void> {
    this.#channel.close();
    this.kill();
    await this.closed;
  }

  #take(message: ToControl): void {
    switch (message.type) {
      case "ready":
        this.#ready.resolve(undefined);
        break;
      case "done":
      case "failed":
        this.#answered(message);
        break;
      case "reserve":
        void this.#reserve(message);
        break;
      case "settle":
        void this.#settle(message);
    }
  }

  #answered(message: Extract<ToControl, { type: "done" | "failed" }>): void {
    const answer = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    answer?.(message.type === "done" ? null : new SovereignError(message.code, message.reason));
  }

  async #reserve({ id, run_id, request }: Extract<ToControl, { type: "reserve" }>): Promise<void> {
    try {
      const verdict = await this.#callsOf(run_id).reserve(request);
      if (verdict.allowed) this.#channel.send({ type: "allowed", id, call: verdict.call });
      else this.#channel.send({ type: "refused", id, code: verdict.code, reason: verdict.reason });
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
      this.#channel.send({ type: "recorded", id });
    } catch (error) {
      this.#refuse(id, error);
    }
  }

  /** What cannot be recorded is not allowed, and not handed on. */
  #refuse(id: number, error: unknown): void {
    const code = isSovereignError(error) ? error.code : "ERR_MODEL_PROXY";
    const why = error instanceof Error ? error.message : "unknown";
    const reason = `the call cannot be recorded: ${why}`.slice(0, 1000);
    this.#channel.send({ type: "refused", id, code, reason });
  }

  #callsOf(runId: string): ModelCalls {
    const calls = this.#runs.get(runId);
    if (calls === undefined) throw new SovereignError("ERR_MODEL_TOKEN", "No such run goes on.");
    return calls;
  }

  async #ask(question: JsonObject): Promise<void> {
    if (this.#gone) throw this.#lost("it died");
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.#waiting.set(id, (error) => {
      if (error === null) resolve(undefined);
      else reject(error);
    });
    this.#channel.send({ ...question, id });
    await promise;
  }

  async #onClosed(): Promise<void> {
    this.#gone = true;
    const lost = this.#lost("it died");
    this.#ready.reject(lost);
    // Nobody may be waiting for it to be ready any more.
    this.#ready.promise.catch(() => undefined);
    for (const answer of this.#waiting.values()) answer(lost);
    this.#waiting.clear();
    this.kill();
    // Nobody will say how the open calls ended: they count as what was held for them.
    const left = [...this.#runs.values()];
    await Promise.allSettled(left.map((calls) => calls.abandon?.() ?? Promise.resolve()));
  }

  #lost(why: string): SovereignError {
    const said = this.#said.trim().split("\n").at(-1) ?? "";
    const text = `The model proxy does not run: ${why}. ${said}`.trim();
    return new SovereignError("ERR_MODEL_PROXY", text);
  }
}

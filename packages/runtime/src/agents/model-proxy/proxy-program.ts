import type { Socket } from "node:net";
import {
  hexDecode,
  isSovereignError,
  type JsonObject,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import type { ScramGate } from "../../kernel/index.ts";
import { LineChannel } from "../channel.ts";
import { proxyLimits } from "./limits.ts";
import type { ModelCalls, ModelCallVerdict } from "./model-calls.ts";
import { type ToProxy, toProxy } from "./protocol.ts";
import { ModelProxy } from "./proxy.ts";
import type { OpenedVendor } from "./vendor.ts";

type Answer = Extract<ToProxy, { type: "allowed" | "refused" | "recorded" }>;

export interface ProxyProgramOptions {
  /** The connection to the control that started it. */
  readonly control: Socket;
  /** Where it listens. */
  readonly socket: string;
  readonly gate: ScramGate;
  /** Open a vendor's file, with its key. */
  readonly openVendor: (name: string) => Promise<OpenedVendor>;
}

/**
 * The model proxy as a process of its own: what it may do it asks the control that started it, and
 * it ends with that control.
 *
 * @returns once the control is gone; open answers are cut
 */
export async function runModelProxy(options: ProxyProgramOptions): Promise<void> {
  const program = new ProxyProgram(options);
  await program.ended;
}

class ProxyProgram {
  readonly ended: Promise<void>;
  readonly #options: ProxyProgramOptions;
  readonly #channel: LineChannel;
  readonly #waiting = new Map<number, (answer: Answer | null) => void>();
  #proxy: Promise<ModelProxy> | null = null;
  #next = 0;

  constructor(options: ProxyProgramOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.ended = promise;
    this.#channel = new LineChannel(
      options.control,
      (message) => {
        this.#take(parseFormat(toProxy, message, "control's message"));
      },
      () => {
        for (const answer of this.#waiting.values()) answer(null);
        resolve(undefined);
      },
    );
    this.#channel.send({ type: "ready" });
  }

  #take(message: ToProxy): void {
    switch (message.type) {
      case "admit":
        void this.#answer(message.id, () => this.#admit(message));
        break;
      case "end":
        void this.#answer(message.id, async () => (await this.#proxy)?.end(message.run_id));
        break;
      case "stop":
        void this.#proxy?.then((proxy) => {
          proxy.stop(message.reason);
        });
        break;
      case "allowed":
      case "refused":
      case "recorded":
        this.#waiting.get(message.id)?.(message);
        this.#waiting.delete(message.id);
    }
  }

  async #answer(id: number, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#channel.send({ type: "done", id });
    } catch (error) {
      const known = isSovereignError(error);
      const why = error instanceof Error ? error.message.slice(0, 1000) : "unknown";
      const code = known ? error.code : "ERR_MODEL_PROXY";
      this.#channel.send({ type: "failed", id, code, reason: why });
    }
  }

  async #admit(message: Extract<ToProxy, { type: "admit" }>): Promise<void> {
    const vendor = await this.#options.openVendor(message.vendor);
    this.#proxy ??= this.#listen(message.limits);
    const proxy = await this.#proxy;
    proxy.admit({
      owner: message.owner,
      tokenSha256: hexDecode(message.token_sha256),
      vendor,
      models: message.models,
      calls: this.#callsOf(message.owner.run_id),
    });
  }

  async #listen(limits: Extract<ToProxy, { type: "admit" }>["limits"]): Promise<ModelProxy> {
    const { gate, socket } = this.#options;
    const proxy = new ModelProxy({ gate, limits: proxyLimits.parse(limits) });
    await proxy.listen(socket);
    return proxy;
  }

  #callsOf(runId: string): ModelCalls {
    return {
      reserve: async (request): Promise<ModelCallVerdict> => {
        const answer = await this.#ask({ type: "reserve", run_id: runId, request: { ...request } });
        if (answer.type === "allowed") return { allowed: true, call: answer.call };
        if (answer.type === "refused") {
          return { allowed: false, code: answer.code, reason: answer.reason };
        }
        throw gone();
      },
      settle: async (call, outcome) => {
        const { answer, usage } = outcome;
        const said = await this.#ask({
          type: "settle",
          run_id: runId,
          call,
          outcome: {
            ...outcome,
            answer: answer === null ? null : { ...answer },
            usage: usage === null ? null : { ...usage },
          },
        });
        if (said.type === "refused") throw new SovereignError(said.code, said.reason);
        if (said.type !== "recorded") throw gone();
      },
    };
  }

  async #ask(question: JsonObject): Promise<Answer> {
    const id = this.#next++;
    const { promise, resolve } = Promise.withResolvers<Answer | null>();
    this.#waiting.set(id, resolve);
    this.#channel.send({ ...question, id });
    const answer = await promise;
    if (answer === null) throw gone();
    return answer;
  }
}

function gone(): SovereignError {
  return new SovereignError("ERR_MODEL_PROXY", "Nobody is there to decide on this call.");
}

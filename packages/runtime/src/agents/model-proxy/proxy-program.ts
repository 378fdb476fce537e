import type { Socket } from "node:net";
import { hexDecode, parseFormat, SovereignError } from "@sovereign/core";
import type { ScramGate } from "../../kernel/index.ts";
import { ControlLine } from "../control-line.ts";
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
  readonly #options: ProxyProgramOptions;
  readonly #line: ControlLine<Answer>;
  #proxy: Promise<ModelProxy> | null = null;

  constructor(options: ProxyProgramOptions) {
    this.#options = options;
    this.#line = new ControlLine(
      options.control,
      (message) => {
        this.#take(parseFormat(toProxy, message, "control's message"));
      },
      { code: "ERR_MODEL_PROXY", lost: GONE },
    );
  }

  get ended(): Promise<void> {
    return this.#line.ended;
  }

  #take(message: ToProxy): void {
    switch (message.type) {
      case "admit":
        void this.#line.carryOut(message.id, () => this.#admit(message));
        break;
      case "end":
        void this.#line.carryOut(message.id, async () => (await this.#proxy)?.end(message.run_id));
        break;
      case "stop":
        void this.#proxy?.then((proxy) => {
          proxy.stop(message.reason);
        });
        break;
      case "allowed":
      case "refused":
      case "recorded":
        this.#line.answered(message);
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
        const answer = await this.#line.ask({
          type: "reserve",
          run_id: runId,
          request: { ...request },
        });
        if (answer.type === "allowed") return { allowed: true, call: answer.call };
        if (answer.type === "refused") {
          return { allowed: false, code: answer.code, reason: answer.reason };
        }
        throw new SovereignError("ERR_MODEL_PROXY", GONE);
      },
      settle: async (call, outcome) => {
        const { answer, usage } = outcome;
        const said = await this.#line.ask({
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
        if (said.type !== "recorded") throw new SovereignError("ERR_MODEL_PROXY", GONE);
      },
    };
  }
}

const GONE = "Nobody is there to decide on this call.";

import { hexEncode, parseFormat, sha256Hex, SovereignError } from "@sovereign/core";
import type { Entropy } from "../../system/index.ts";
import { ProxyChild } from "../proxy-child.ts";
import { type EgressDesk, recordConnection } from "./egress-desk.ts";
import { type EgressLimits, type FromEgress, fromEgress } from "./protocol.ts";

/** For the ends of connections to be recorded, before the process is killed. */
const CLOSE_MS = 2000;

export interface EgressProcessOptions {
  /** `programCommand("egress")`. */
  readonly command: readonly [string, ...string[]];
  /** The data folder: the proxy reads the kill switch's state there. */
  readonly home: string;
  /** Where it listens: at most 107 bytes, in a folder that is ours alone. */
  readonly socket: string;
  readonly owner: { readonly tenant_id: string; readonly run_id: string };
  readonly desk: EgressDesk;
  readonly entropy: Entropy;
  readonly limits?: Partial<EgressLimits>;
}

/** An egress proxy that this process started for one step of a run, and that ends with it. */
export class EgressProcess {
  /** What a client shows: the password of its proxy's URL. */
  readonly token: string;
  readonly #child: ProxyChild;
  readonly #desk: EgressDesk;

  private constructor(options: EgressProcessOptions) {
    const { command, home, socket, desk, entropy } = options;
    const [program, ...args] = command;
    this.token = hexEncode(entropy.bytes(32));
    this.#desk = desk;
    this.#child = new ProxyChild({
      service: "egress",
      name: "egress proxy",
      code: "ERR_EGRESS_PROXY",
      command: [program, ...args, home, socket],
      environment: {},
      onMessage: (message) => {
        this.#take(parseFormat(fromEgress, message, "the egress proxy's message"));
      },
      onGone: () => desk.abandon(),
    });
  }

  /** @throws ERR_EGRESS_PROXY */
  static async start(options: EgressProcessOptions): Promise<EgressProcess> {
    const proxy = new EgressProcess(options);
    const { tenant_id, run_id } = options.owner;
    try {
      await proxy.#child.ready();
      await proxy.#child.ask({
        type: "open",
        owner: { tenant_id, run_id },
        token_sha256: sha256Hex(Buffer.from(proxy.token)),
        limits: { ...options.limits },
      });
      return proxy;
    } catch (error) {
      await proxy.#child.close();
      throw error;
    }
  }

  get pid(): number | null {
    return this.#child.pid;
  }

  /** The kill switch: every connection is cut, and its end is recorded. */
  stop(reason: string): void {
    this.#child.stop(reason);
  }

  /** Cut what is open, record the ends, and end the process. */
  async close(): Promise<void> {
    const timer = setTimeout(() => {
      this.#child.kill();
    }, CLOSE_MS);
    // One that is gone has recorded its ends.
    await this.#child.ask({ type: "close" }).catch(() => undefined);
    clearTimeout(timer);
    await this.#child.close();
  }

  #take(message: FromEgress): void {
    switch (message.type) {
      case "ready":
      case "done":
      case "failed":
        this.#child.answered(message);
        break;
      case "decide":
      case "connected":
      case "closed":
      case "refused":
        void this.#child.answer(message.id, () => this.#carryOut(message));
    }
  }

  /** @returns a connection's name where one begins */
  async #carryOut(
    message: Extract<FromEgress, { type: "decide" | "connected" | "closed" | "refused" }>,
  ): Promise<string | null> {
    if (message.type !== "decide") return recordConnection(this.#desk, message);
    const denial = await this.#desk.decide(message.host, message.port);
    if (denial !== null) throw new SovereignError(denial.code, denial.reason);
    return null;
  }
}

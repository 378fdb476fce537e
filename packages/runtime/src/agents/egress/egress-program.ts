import type { Socket } from "node:net";
import { cutText, hexDecode, parseFormat, SovereignError } from "@sovereign/core";
import type { ScramGate } from "../../kernel/index.ts";
import type { Resolver } from "../addresses.ts";
import { ControlLine } from "../control-line.ts";
import type { EgressCalls } from "./egress-calls.ts";
import { EgressProxy } from "./egress-proxy.ts";
import { egressLimits, type ToEgress, toEgress } from "./protocol.ts";

type Answer = Extract<ToEgress, { type: "allowed" | "refused" }>;

export interface EgressProgramOptions {
  /** The connection to the control that started it. */
  readonly control: Socket;
  /** Where it listens. */
  readonly socket: string;
  readonly gate: ScramGate;
  readonly resolver?: Resolver;
  /** Which addresses are taken: public ones. */
  readonly allowed?: (address: string) => boolean;
}

/**
 * The egress proxy as a process of its own: what it may do it asks the control that started it, and
 * it ends with that control.
 *
 * @returns once the control is gone; open connections are cut
 */
export async function runEgress(options: EgressProgramOptions): Promise<void> {
  const program = new EgressProgram(options);
  await program.ended;
}

class EgressProgram {
  readonly #options: EgressProgramOptions;
  readonly #line: ControlLine<Answer>;
  #proxy: EgressProxy | null = null;

  constructor(options: EgressProgramOptions) {
    this.#options = options;
    this.#line = new ControlLine(
      options.control,
      (message) => {
        this.#take(parseFormat(toEgress, message, "control's message"));
      },
      { code: "ERR_EGRESS_PROXY", lost: GONE },
    );
  }

  get ended(): Promise<void> {
    return this.#line.ended;
  }

  #take(message: ToEgress): void {
    switch (message.type) {
      case "open":
        void this.#line.carryOut(message.id, () => this.#open(message));
        break;
      case "close":
        void this.#line.carryOut(message.id, async () => this.#proxy?.close());
        break;
      case "stop":
        this.#proxy?.stop();
        break;
      case "allowed":
      case "refused":
        this.#line.answered(message);
    }
  }

  async #open(message: Extract<ToEgress, { type: "open" }>): Promise<void> {
    const { gate, socket, resolver, allowed } = this.#options;
    const proxy = new EgressProxy({
      tokenSha256: hexDecode(message.token_sha256),
      calls: this.#calls(),
      stopped: () => {
        const now = gate.preflight(message.owner);
        return now.armed ? null : now;
      },
      limits: egressLimits.parse(message.limits),
      ...(resolver === undefined ? {} : { resolver }),
      ...(allowed === undefined ? {} : { allowed }),
    });
    this.#proxy = proxy;
    await proxy.listen(socket);
  }

  #calls(): EgressCalls {
    const line = this.#line;
    return {
      decide: async (host, port) => {
        const answer = await line.ask({ type: "decide", host, port });
        return answer.type === "allowed" ? null : { code: answer.code, reason: answer.reason };
      },
      connected: async (host, port, address) => {
        const answer = await line.ask({ type: "connected", host, port, address });
        if (answer.type === "refused") throw new SovereignError(answer.code, answer.reason);
        if (answer.connection === null) throw new SovereignError("ERR_EGRESS_PROXY", GONE);
        return answer.connection;
      },
      closed: async (connection, ended, sent, received) => {
        await line.ask({ type: "closed", connection, ended, sent, received });
      },
      refused: async (host, code, reason) => {
        await line.ask({ type: "refused", host, code, reason: cutText(reason, 2000) });
      },
    };
  }
}

const GONE = "Nobody is there to decide on this connection.";

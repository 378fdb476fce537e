import type { Socket } from "node:net";
import { cutText, parseFormat, SovereignError } from "@sovereign/core";
import { ControlLine, type OpenedSecret, type Resolver } from "../agents/index.ts";
import type { ScramGate } from "../kernel/index.ts";
import { Gateway, type GrantOptions } from "./gateway.ts";
import { type ToGateway, toGateway } from "./protocol.ts";

type Answer = Extract<ToGateway, { type: "allowed" | "refused" }>;

export interface GatewayProgramOptions {
  /** The connection to the control that started it. */
  readonly control: Socket;
  /** Where it listens. */
  readonly socket: string;
  readonly gate: ScramGate;
  readonly openSecret: (tenant: string, name: string) => Promise<OpenedSecret>;
  readonly resolver?: Resolver;
}

/**
 * The gateway as a process of its own: what it may do it is told by the control that started it, and
 * it ends with that control. It alone opens secrets.
 *
 * @returns once the control is gone; open connections are cut
 */
export async function runGateway(options: GatewayProgramOptions): Promise<void> {
  const program = new GatewayProgram(options);
  await program.ended;
}

class GatewayProgram {
  readonly #options: GatewayProgramOptions;
  readonly #line: ControlLine<Answer>;
  readonly #tokens = new Map<number, string>();
  #gateway: Promise<Gateway> | null = null;

  constructor(options: GatewayProgramOptions) {
    this.#options = options;
    this.#line = new ControlLine(
      options.control,
      (message) => {
        this.#take(parseFormat(toGateway, message, "control's message"));
      },
      { code: "ERR_SKILL_GATEWAY", lost: "Nobody is there to record this connection." },
    );
  }

  get ended(): Promise<void> {
    return this.#line.ended;
  }

  #take(message: ToGateway): void {
    switch (message.type) {
      case "grant":
        void this.#line.carryOut(message.id, () => this.#grant(message));
        break;
      case "revoke":
        void this.#line.carryOut(message.id, () => this.#revoke(message.grant));
        break;
      case "stop":
        void this.#gateway?.then((gateway) => {
          gateway.stop();
        });
        break;
      case "allowed":
      case "refused":
        this.#line.answered(message);
    }
  }

  async #grant(message: Extract<ToGateway, { type: "grant" }>): Promise<void> {
    const { grant, owner, token_sha256: tokenSha256, place, secrets } = message;
    this.#gateway ??= this.#listen(owner);
    const gateway = await this.#gateway;
    this.#tokens.set(grant, tokenSha256);
    gateway.grant({
      tokenSha256,
      place,
      secrets,
      calls: this.#callsOf(grant),
      openSecret: (name) => this.#options.openSecret(owner.tenant_id, name),
    });
  }

  async #revoke(grant: number): Promise<void> {
    const token = this.#tokens.get(grant);
    this.#tokens.delete(grant);
    if (token !== undefined) await (await this.#gateway)?.revoke(token);
  }

  async #listen(owner: Extract<ToGateway, { type: "grant" }>["owner"]): Promise<Gateway> {
    const { gate, socket, resolver } = this.#options;
    const gateway = new Gateway({
      stopped: () => {
        const now = gate.preflight(owner);
        return now.armed ? null : now;
      },
      ...(resolver === undefined ? {} : { resolver }),
    });
    await gateway.listen(socket);
    return gateway;
  }

  #callsOf(grant: number): GrantOptions["calls"] {
    const line = this.#line;
    return {
      connected: async (host, port, address) => {
        const answer = await line.ask({ type: "connected", grant, host, port, address });
        if (answer.type === "refused") throw new SovereignError(answer.code, answer.reason);
        if (answer.connection !== null) return answer.connection;
        throw new SovereignError("ERR_SKILL_GATEWAY", "The connection has no name.");
      },
      closed: async (connection, ended, sent, received) => {
        await line.ask({ type: "closed", grant, connection, ended, sent, received });
      },
      refused: async (host, code, reason) => {
        await line.ask({ type: "refused", grant, host, code, reason: cutText(reason, 2000) });
      },
    };
  }
}

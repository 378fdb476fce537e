import { hexEncode, parseFormat, sha256Hex, SovereignError } from "@sovereign/core";
import { type EgressDesk, ProxyChild, recordConnection } from "../agents/index.ts";
import type { Entropy } from "../system/index.ts";
import { type FromGateway, fromGateway, type GrantedPlace } from "./protocol.ts";

type Owner = Readonly<Record<"tenant_id" | "run_id", string>>;

export interface GatewayProcessOptions {
  /** `programCommand("gateway")`. */
  readonly command: readonly [string, ...string[]];
  /** The data folder: the gateway reads secrets and the kill switch's state there. */
  readonly home: string;
  /** Where it listens: at most 107 bytes, in a folder that is ours alone. */
  readonly socket: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly owner: Owner;
  readonly entropy: Entropy;
}

/** What one step may reach. */
export interface StepGrant {
  readonly desk: EgressDesk;
  readonly place: GrantedPlace;
  readonly secrets: readonly string[];
}

/** What the host shows, as long as the step goes on. */
export interface OpenGrant {
  readonly token: string;
  /** Cuts what is open, and records it: the token is good for nothing afterwards. */
  end(): Promise<void>;
}

/** A gateway that this process started for one run, and that ends with it. */
export class GatewayProcess {
  readonly #child: ProxyChild;
  readonly #owner: Owner;
  readonly #entropy: Entropy;
  readonly #desks = new Map<number, EgressDesk>();
  #next = 0;

  private constructor({
    command,
    home,
    socket,
    environment,
    owner,
    entropy,
  }: GatewayProcessOptions) {
    const [program, ...args] = command;
    this.#owner = owner;
    this.#entropy = entropy;
    this.#child = new ProxyChild({
      service: "gateway",
      name: "gateway of skills",
      code: "ERR_SKILL_GATEWAY",
      command: [program, ...args, home, socket],
      environment,
      onMessage: (message) => {
        this.#take(parseFormat(fromGateway, message, "the gateway's message"));
      },
      onGone: () => Promise.allSettled([...this.#desks.values()].map((desk) => desk.abandon())),
    });
  }

  /** @throws ERR_SKILL_GATEWAY */
  static async start(options: GatewayProcessOptions): Promise<GatewayProcess> {
    const gateway = new GatewayProcess(options);
    await gateway.#child.ready();
    return gateway;
  }

  get pid(): number | null {
    return this.#child.pid;
  }

  /** Let a step reach its place. @throws ERR_SKILL_GATEWAY */
  async grant({ desk, place, secrets }: StepGrant): Promise<OpenGrant> {
    const grant = this.#next++;
    const token = hexEncode(this.#entropy.bytes(32));
    this.#desks.set(grant, desk);
    await this.#child.ask({
      type: "grant",
      grant,
      owner: { ...this.#owner },
      token_sha256: sha256Hex(Buffer.from(token)),
      place: { ...place },
      secrets: [...secrets],
    });
    return {
      token,
      end: async () => {
        // One that is gone has recorded its ends.
        await this.#child.ask({ type: "revoke", grant }).catch(() => undefined);
        await desk.abandon();
        this.#desks.delete(grant);
      },
    };
  }

  /** The kill switch: every connection is cut, and its end is recorded. */
  stop(reason: string): void {
    this.#child.stop(reason);
  }

  /** End the process. */
  close(): Promise<void> {
    return this.#child.close();
  }

  #take(message: FromGateway): void {
    switch (message.type) {
      case "ready":
      case "done":
      case "failed":
        this.#child.answered(message);
        break;
      case "connected":
      case "closed":
      case "refused":
        void this.#child.answer(message.id, () => this.#record(message));
    }
  }

  async #record(
    message: Extract<FromGateway, { type: "connected" | "closed" | "refused" }>,
  ): Promise<string | null> {
    const desk = this.#desks.get(message.grant);
    if (desk === undefined) throw new SovereignError("ERR_SKILL_GATEWAY", "No such step goes on.");
    return recordConnection(desk, message);
  }
}

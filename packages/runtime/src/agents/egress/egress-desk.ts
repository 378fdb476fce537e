import {
  type Action,
  type ActionContext,
  cutText,
  type ErrorCode,
  type JsonObject,
  type LedgerEntry,
  type PolicyDecision,
  type Severity,
  SovereignError,
} from "@sovereign/core";
import { askPolicy, type PolicyDecider, type ScramGate } from "../../kernel/index.ts";
import { type Entropy, newId } from "../../system/index.ts";
import type { EgressCalls, EgressEnd, EgressRefusal, RefusedHost } from "./egress-calls.ts";

export interface EgressDeskOptions {
  readonly context: ActionContext;
  readonly policy: PolicyDecider;
  readonly scram: ScramGate;
  /** What policy is asked about: `http.call` for a tool's one call; `network.connect` otherwise. */
  readonly type?: "network.connect" | "http.call";
  /** For a step of a plan: what the kernel let through, which begins with the only host. */
  readonly step?: Pick<Action, "type" | "resource">;
  /** Durable when it resolves. @throws ERR_STORE_UNAVAILABLE, ERR_RUN_FENCED */
  readonly record: (event: string, severity: Severity, data: JsonObject) => Promise<void>;
  readonly entropy: Entropy;
}

/** What a run says to connections: the policy's decision, and the record. */
export class EgressDesk implements EgressCalls {
  readonly #options: EgressDeskOptions;
  readonly #open = new Set<string>();
  /** Beginnings that are not durable yet. */
  readonly #beginning = new Set<Promise<void>>();
  #refused: RefusedHost | null = null;
  #hasBegun = false;
  #unrecorded: SovereignError | null = null;

  private constructor(options: EgressDeskOptions) {
    this.#options = options;
  }

  /** @param entries the run's stream so far; connections without an end are recorded as `unknown` */
  static async open(
    options: EgressDeskOptions,
    entries: AsyncIterable<Pick<LedgerEntry, "event_type" | "data">> | null,
  ): Promise<EgressDesk> {
    const desk = new EgressDesk(options);
    if (entries !== null) {
      for await (const { event_type: event, data } of entries) {
        const { connection } = data;
        if (typeof connection !== "string") continue;
        if (event === "egress.connected") desk.#open.add(connection);
        if (event === "egress.closed") desk.#open.delete(connection);
      }
    }
    await desk.abandon();
    return desk;
  }

  /** The last connection that was refused; null where none was. */
  get lastRefused(): RefusedHost | null {
    return this.#refused;
  }

  /** Whether any connection was let begin. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** Why a beginning or an end could not be recorded; null where all was. */
  get unrecorded(): SovereignError | null {
    return this.#unrecorded;
  }

  async #record(event: string, severity: Severity, data: JsonObject): Promise<void> {
    try {
      await this.#options.record(event, severity, data);
    } catch (error) {
      if (error instanceof SovereignError) this.#unrecorded = error;
      throw error;
    }
  }

  decide(host: string, port: number): Promise<EgressRefusal | null> {
    return Promise.resolve(this.#decide(host, port).refusal);
  }

  async connected(host: string, port: number, address: string): Promise<string> {
    const { context, entropy } = this.#options;
    // Whoever asks may not have asked before.
    const { action, decision, refusal } = this.#decide(host, port);
    if (refusal !== null) throw new SovereignError(refusal.code, refusal.reason);
    const connection = newId("conn_", entropy);
    const { role } = context;
    const about = { connection, role, action, decision, host, port, address };
    const recorded = this.#record("egress.connected", "INFO", about).then(() => {
      this.#hasBegun = true;
      this.#open.add(connection);
    });
    this.#beginning.add(recorded);
    await recorded.finally(() => this.#beginning.delete(recorded));
    return connection;
  }

  async closed(
    connection: string,
    ended: EgressEnd,
    sent: number,
    received: number,
  ): Promise<void> {
    if (!this.#open.delete(connection)) return;
    const severity = ended === "closed" ? "INFO" : "WARNING";
    const about = { connection, ended, sent, received };
    await this.#record("egress.closed", severity, about).catch((error: unknown) => {
      // Its end is not told yet.
      this.#open.add(connection);
      throw error;
    });
  }

  async refused(host: string, code: ErrorCode, reason: string): Promise<void> {
    const { context, record } = this.#options;
    const { role } = context;
    const said = { host: cutText(host, 300), code, reason: cutText(reason, 2000) };
    this.#refused = said;
    await record("egress.refused", "WARNING", { role, ...said });
  }

  /** Nobody will tell how the open ones ended. */
  async abandon(): Promise<void> {
    // What is being recorded as begun is begun, and has an end.
    await Promise.allSettled(this.#beginning);
    for (const connection of [...this.#open]) await this.closed(connection, "unknown", 0, 0);
  }

  #decide(
    host: string,
    port: number,
  ): { action: Action; decision: PolicyDecision; refusal: EgressRefusal | null } {
    const { policy, context, scram, type = "network.connect", step } = this.#options;
    // The port of https is what a host without one means.
    const resource = port === 443 ? host : `${host}:${port}`;
    const action: Action = { ...(step ?? { type, resource }), params: {} };
    const { decision, problem } = askPolicy(policy, action, context);
    const gate = scram.preflight(context);
    const isElsewhere = action.resource.split("/")[0] !== resource;
    const other = isElsewhere ? `${action.resource} is not at ${resource}` : null;
    // Approvals of a step were held against the policy when it was let through.
    const isApproved = step !== undefined && decision.effect === "step_up";
    const known = isApproved ? ({ ...decision, effect: "allow" } as const) : decision;
    const refusal = gate.armed ? refusalOf(action.type, known, problem ?? other, resource) : gate;
    return { action, decision, refusal };
  }
}

/** A policy that only observes opens nothing: what a host was sent cannot be taken back. */
function refusalOf(
  type: string,
  { effect, observed, reasons }: PolicyDecision,
  problem: string | null,
  resource: string,
): EgressRefusal | null {
  if (problem === null && effect === "allow" && !observed) return null;
  const asks = "policy asks for approvals, which nobody can give while a command waits";
  const open = type === "network.connect" ? `. To open it, name it under network.hosts` : "";
  const no = `${reasons.join("; ") || `no rule allows ${resource}`}${open}`;
  const why = effect === "step_up" ? asks : no;
  return { code: "ERR_EGRESS_DENIED", reason: problem ?? why };
}

/** What a process between a run and the world tells of one connection. Its words are bounded. */
export type ConnectionNews =
  | {
      readonly type: "connected";
      readonly host: string;
      readonly port: number;
      readonly address: string;
    }
  | {
      readonly type: "closed";
      readonly connection: string;
      readonly ended: Parameters<EgressDesk["closed"]>[1];
      readonly sent: number;
      readonly received: number;
    }
  | {
      readonly type: "refused";
      readonly host: string;
      readonly code: Parameters<EgressDesk["refused"]>[1];
      readonly reason: string;
    };

/** @returns a connection's name where one begins */
export async function recordConnection(
  desk: EgressDesk,
  news: ConnectionNews,
): Promise<string | null> {
  switch (news.type) {
    case "connected":
      return desk.connected(news.host, news.port, news.address);
    case "closed":
      await desk.closed(news.connection, news.ended, news.sent, news.received);
      return null;
    case "refused":
      await desk.refused(news.host, news.code, news.reason);
      return null;
  }
}

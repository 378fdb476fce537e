import {
  type Action,
  type ActionContext,
  cutText,
  type ErrorCode,
  type JsonObject,
  type LedgerEntry,
  type Severity,
} from "@sovereign/core";
import { askPolicy, type PolicyDecider, type ScramGate } from "../../kernel/index.ts";
import { type Entropy, newId } from "../../system/index.ts";

export type EgressEnd = "closed" | "failed" | "limit" | "timeout" | "stopped" | "unknown";

export interface EgressDeskOptions {
  readonly context: ActionContext;
  readonly policy: PolicyDecider;
  readonly scram: ScramGate;
  /** Durable when it resolves. @throws ERR_STORE_UNAVAILABLE, ERR_RUN_FENCED */
  readonly record: (event: string, severity: Severity, data: JsonObject) => Promise<void>;
  readonly entropy: Entropy;
}

/** What a run says to connections: the policy's decision, and the record. */
export class EgressDesk {
  readonly #options: EgressDeskOptions;
  readonly #open = new Set<string>();

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

  /** Why nothing may be done now; null while the kill switch is armed. */
  stopped(): { readonly code: ErrorCode; readonly reason: string } | null {
    const gate = this.#options.scram.preflight(this.#options.context);
    return gate.armed ? null : gate;
  }

  /** @returns why the policy does not let it through; null where it does */
  decide(host: string, port: number): { code: ErrorCode; reason: string } | null {
    const { policy, context } = this.#options;
    // The port of https is what a host without one means.
    const resource = port === 443 ? host : `${host}:${port}`;
    const action: Action = { type: "http.call", resource, params: {} };
    const { decision, problem } = askPolicy(policy, action, context);
    if (problem !== null) return { code: "ERR_EGRESS_DENIED", reason: problem };
    if (decision.effect === "allow") return null;
    const reason = decision.reasons.join("; ") || `no rule allows ${resource}`;
    return { code: "ERR_EGRESS_DENIED", reason };
  }

  /** Before a byte goes out. @returns the connection's name in the record */
  async connected(host: string, port: number, address: string): Promise<string> {
    const { context, record, entropy } = this.#options;
    const connection = newId("conn_", entropy);
    const { role } = context;
    await record("egress.connected", "INFO", { connection, role, host, port, address });
    this.#open.add(connection);
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
    await this.#options.record("egress.closed", severity, { connection, ended, sent, received });
  }

  async refused(host: string, code: ErrorCode, reason: string): Promise<void> {
    const { context, record } = this.#options;
    const { role } = context;
    const said = { host: cutText(host, 300), code, reason: cutText(reason, 2000) };
    await record("egress.refused", "WARNING", { role, ...said });
  }

  /** Nobody will tell how the open ones ended. */
  async abandon(): Promise<void> {
    for (const connection of [...this.#open]) await this.closed(connection, "unknown", 0, 0);
  }
}

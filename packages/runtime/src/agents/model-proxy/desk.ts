import {
  type Amount,
  CallBudget,
  chargeOf,
  type Action,
  type ActionContext,
  type ErrorCode,
  type JsonObject,
  type LedgerEntry,
  type ModelBudget,
  type PolicyDecision,
  type Severity,
  cutText,
} from "@sovereign/core";
import { askPolicy, noDecision, type PolicyDecider, type ScramGate } from "../../kernel/index.ts";
import { type Clock, type Entropy, newId, Turns } from "../../system/index.ts";
import type {
  ModelCallOutcome,
  ModelCallRequest,
  ModelCalls,
  ModelCallVerdict,
} from "./model-calls.ts";
import { type OwnPrice, type PricedModel, priceOf, worstPrice } from "./price.ts";

export interface ModelCallDeskOptions {
  /** Whose calls these are: the run's, the role's, and the step in which the agent works. */
  readonly context: ActionContext;
  readonly budget: ModelBudget;
  readonly policy: PolicyDecider;
  readonly scram: ScramGate;
  /** Durable when it resolves. @throws ERR_STORE_UNAVAILABLE, ERR_RUN_FENCED */
  readonly record: (event: string, severity: Severity, data: JsonObject) => Promise<void>;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** What the table of prices calls a vendor, and the prices that its file sets. */
  readonly pricing: (vendor: string) => {
    readonly provider: string | null;
    readonly own: OwnPrice | null;
  };
}

/** What of a reservation is needed at its end. */
interface OpenCall {
  readonly priced: PricedModel;
  readonly held: Amount;
}

/**
 * The control's side of model calls: the kernel's decision, the budget and the record, one commit
 * for each. Calls are judged one after another, so that two never spend the same money.
 *
 * INVARIANT: what a call may cost is held, durably, before a byte of it is sent.
 */
export class ModelCallDesk implements ModelCalls {
  readonly #options: ModelCallDeskOptions;
  readonly #budget: CallBudget;
  readonly #open = new Map<string, OpenCall>();
  readonly #turns = new Turns();
  #refusal: { readonly code: ErrorCode; readonly reason: string } | null = null;

  private constructor(options: ModelCallDeskOptions) {
    this.#options = options;
    this.#budget = new CallBudget(options.budget);
  }

  /**
   * @param entries the run's stream as far as there is one; calls of which it tells no end are
   *   recorded as `unknown`, and count as what was held for them
   */
  static async open(
    options: ModelCallDeskOptions,
    entries: AsyncIterable<Pick<LedgerEntry, "event_type" | "data">> | null,
  ): Promise<ModelCallDesk> {
    const desk = new ModelCallDesk(options);
    if (entries !== null) for await (const entry of entries) desk.#budget.replay(entry);
    await desk.abandon();
    return desk;
  }

  /** Why the last call was not let through; null where it was, or none was asked for. */
  get refusal(): { readonly code: ErrorCode; readonly reason: string } | null {
    return this.#refusal;
  }

  /** What was used so far. */
  get totals(): CallBudget["totals"] {
    return this.#budget.totals;
  }

  reserve(request: ModelCallRequest): Promise<ModelCallVerdict> {
    return this.#inTurn(() => this.#reserve(request));
  }

  settle(call: string, outcome: ModelCallOutcome): Promise<void> {
    return this.#inTurn(() => this.#settle(call, outcome));
  }

  /** Nobody will tell how the open calls ended: the proxy died, or the run ends. */
  abandon(): Promise<void> {
    return this.#inTurn(async () => {
      const outcome = { ended: "unknown", status: null, answer: null, usage: null } as const;
      for (const call of this.#budget.open) await this.#settle(call, outcome);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.take(work);
  }

  async #reserve(request: ModelCallRequest): Promise<ModelCallVerdict> {
    const { context, policy, scram } = this.#options;
    const action = actionOf(request);
    const gate = scram.preflight(context);
    if (!gate.armed) {
      return this.#deny(action, noDecision(policy.policyDigest), gate.code, gate.reason);
    }
    const { decision, problem } = askPolicy(policy, action, context);
    if (problem !== null) return this.#deny(action, decision, "ERR_DECISION_INVALID", problem);
    if (decision.effect !== "allow") {
      return this.#deny(action, decision, "ERR_MODEL_DENIED", whyNot(decision));
    }
    return this.#hold(request, action, decision);
  }

  /** Take the money, where there is enough of it. */
  async #hold(
    request: ModelCallRequest,
    action: Action,
    decision: PolicyDecision,
  ): Promise<ModelCallVerdict> {
    const { context, clock, entropy, record, pricing } = this.#options;
    const { provider, own } = pricing(request.vendor);
    const priced = { provider, own, model: request.model, at: clock.now() };
    const { inputTokens, outputTokensMax, cachesForAnHour } = request;
    const counts = request.wire === "anthropic_count";
    const price = worstPrice(priced, inputTokens, outputTokensMax, cachesForAnHour);
    const held: Amount = counts
      ? { tokens: 0, microusd: 0 }
      : { tokens: inputTokens + outputTokensMax, microusd: price?.microusd ?? null };
    const refusal = this.#budget.refusal(held);
    if (refusal !== null) return this.#deny(action, decision, refusal.code, refusal.reason);
    const call = newId("call_", entropy);
    await record("llm.reserved", "INFO", {
      call,
      role: context.role,
      action,
      decision,
      reserved: { ...held },
      prices: counts ? null : (price?.source ?? null),
      budget: { ...this.#budget.budget },
      totals: { ...this.#budget.afterReserve(held) },
    });
    this.#budget.reserve(call, held);
    this.#refusal = null;
    this.#open.set(call, { priced, held });
    return { allowed: true, call };
  }

  async #settle(call: string, outcome: ModelCallOutcome): Promise<void> {
    const held = this.#budget.held(call);
    // Ended already: the second word on it changes nothing.
    if (held === null) return;
    const { ended, status, answer, usage } = outcome;
    const priced = this.#open.get(call)?.priced;
    const cost =
      usage === null || priced === undefined ? null : (priceOf(priced, usage)?.microusd ?? null);
    const charged = chargeOf(ended, usage, cost, held);
    await this.#options.record("llm.called", ended === "completed" ? "INFO" : "WARNING", {
      call,
      ended,
      status,
      answer: answer === null ? null : { ...answer },
      usage: usage === null ? null : { ...usage },
      cost_microusd: cost,
      charged: { ...charged },
      totals: { ...this.#budget.afterEnd(held, charged) },
    });
    this.#budget.end(call, held, charged);
    this.#open.delete(call);
  }

  async #deny(
    action: Action,
    decision: PolicyDecision,
    code: ErrorCode,
    reason: string,
  ): Promise<ModelCallVerdict> {
    const { context, record } = this.#options;
    await record("llm.denied", "WARNING", {
      role: context.role,
      action,
      decision,
      code,
      reason: cutText(reason, 2000),
      budget: { ...this.#budget.budget },
      totals: { ...this.#budget.totals },
    });
    this.#refusal = { code, reason };
    return { allowed: false, code, reason };
  }
}

function whyNot({ effect, reasons }: PolicyDecision): string {
  if (effect === "deny") return reasons.join("; ") || "no rule allows this";
  return "policy asks for approvals of llm.call, which nobody can give while an agent waits";
}

function actionOf({ wire, vendor, model, request, outputTokensMax }: ModelCallRequest): Action {
  return {
    type: "llm.call",
    resource: `${vendor}/${model}`,
    params: { wire, request: { ...request }, output_tokens_max: outputTokensMax },
  };
}

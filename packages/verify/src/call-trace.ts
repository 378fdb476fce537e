import {
  type Amount,
  CallBudget,
  canonicalize,
  chargeOf,
  digestOf,
  type EntryData,
  type ModelBudget,
  type ModelTotals,
  type PlacedEntry,
  REFUSALS_TOLD,
} from "@sovereign/core";
import type { Evidence } from "./evidence.ts";
import { verifyPermission } from "./permission.ts";
import { expectEqual, wrong } from "./step-recorder.ts";

const CALLS = ["llm.reserved", "llm.called", "llm.denied"];
const CONNECTIONS = ["egress.connected", "egress.closed", "egress.refused"];

/**
 * The calls of models and the connections of a run, counted again: each call was allowed and held
 * before it was made, counts as what it cost, and all of them stay within the budget.
 *
 * @see docs/spec/models.md "Verification"
 */
export class CallTrace {
  readonly #admitted: EntryData<"run.admitted">;
  readonly #tenant: string;
  readonly #calls = new Set<string>();
  readonly #connections = new Set<string>();
  readonly #open = new Set<string>();
  readonly #steps = new Set<string>();
  #budget: CallBudget | null = null;
  readonly #denied = new Refusals();
  readonly #unconnected = new Refusals();

  constructor(admitted: EntryData<"run.admitted">, manifest: { readonly tenant_id: string }) {
    this.#admitted = admitted;
    this.#tenant = manifest.tenant_id;
  }

  isOurs(event: string): boolean {
    const others = ["execution.authorized", "run.sealed"];
    return CALLS.includes(event) || CONNECTIONS.includes(event) || others.includes(event);
  }

  /** @throws ERR_VERIFY_INVALID */
  follow(evidence: Evidence, placed: PlacedEntry): void {
    const { event_type: event } = placed.entry;
    const { events } = evidence;
    if (event === "execution.authorized") this.#authorized(events.data(placed, event));
    if (event === "llm.reserved") this.#reserved(events.data(placed, event));
    if (event === "llm.called") this.#called(events.data(placed, event));
    if (event === "llm.denied") this.#refused(events.data(placed, event));
    if (event === "egress.connected") this.#connected(events.data(placed, event));
    if (event === "egress.refused") this.#unconnected.count(events.data(placed, event).left_out);
    if (event === "egress.closed") this.#closed(events.data(placed, event).connection);
    if (event === "run.sealed") this.#sealed();
  }

  /** What a report says of them; nothing where there were none. */
  details(): [string, number][] {
    const counts: [string, number][] = [
      ["connections", this.#connections.size],
      ["connections_refused", this.#unconnected.total],
    ];
    const connections = counts.filter(([, count]) => count > 0);
    if (this.#budget === null) return connections;
    const { calls, tokens, microusd, unpriced } = this.#budget.totals;
    return [
      ...connections,
      ["model_calls", calls],
      ["model_calls_denied", this.#denied.total],
      ["model_tokens", tokens],
      ["model_microusd", microusd],
      ["model_calls_unpriced", unpriced],
    ];
  }

  #reserved(data: EntryData<"llm.reserved">): void {
    const { call, decision, reserved, totals } = data;
    const budget = this.#budgetOf(data.budget);
    if (this.#calls.has(call)) throw wrong(`The call ${call} was let through before.`);
    this.#calls.add(call);
    const refusal = budget.refusal(reserved);
    budget.reserve(call, reserved);
    expectTotals(totals, budget.totals);
    if (refusal !== null) throw wrong(`The call was let through. ${refusal.reason}`);
    this.#decided(data);
    verifyPermission(decision);
    if (decision.effect !== "allow") throw wrong("A model call is allowed without approvals.");
  }

  #called(data: EntryData<"llm.called">): void {
    const { call, ended, usage, cost_microusd: cost, charged, totals } = data;
    const held = this.#budget?.held(call) ?? null;
    if (this.#budget === null || held === null) throw wrong("A call ended that was not open.");
    const expected = chargeOf(ended, usage, cost, held);
    this.#budget.end(call, held, expected);
    expectAmount(charged, expected);
    expectTotals(totals, this.#budget.totals);
    if (usage === null && cost !== null) throw wrong("A cost without usage.");
  }

  #refused(data: EntryData<"llm.denied">): void {
    this.#denied.count(data.left_out);
    const budget = this.#budgetOf(data.budget);
    expectTotals(data.totals, budget.totals);
    if (data.decision.effect === "allow") this.#decided(data);
  }

  #decided({
    action,
    role,
    decision,
  }: Pick<
    EntryData<"llm.reserved"> | EntryData<"egress.connected">,
    "action" | "role" | "decision"
  >): void {
    const { policy_digest: policy, mode } = this.#admitted;
    const request = digestOf({ action, tenant_id: this.#tenant, role, mode });
    expectEqual(decision.policy_digest, policy, "The decision's policy");
    expectEqual(decision.request_digest, request, "The decision's request");
  }

  #connected(data: EntryData<"egress.connected">): void {
    const { connection, host, port, action, decision } = data;
    if (this.#connections.has(connection)) throw wrong(`${connection} was made before.`);
    this.#connections.add(connection);
    this.#open.add(connection);
    const resource = port === 443 ? host : `${host}:${port}`;
    const isStep = action.type.startsWith("skill.");
    const found = isStep ? action.resource.split("/")[0] : action.resource;
    expectEqual(found ?? "", resource, "The host that was decided on");
    this.#decided(data);
    verifyPermission(decision);
    if (isStep && !this.#steps.has(stepOf(action, data.role))) {
      throw wrong(`No step was let through that connects to ${resource}.`);
    }
    // The approvals of a step stand with its permission.
    const isApproved = isStep && decision.effect === "step_up";
    if (decision.effect !== "allow" && !isApproved) {
      throw wrong("A connection is allowed without approvals.");
    }
    // A policy that only observes opens nothing to a host that it does not name.
    if (decision.observed) throw wrong(`Policy does not name ${resource}.`);
  }

  #authorized({ action, context }: EntryData<"execution.authorized">): void {
    if (action.type.startsWith("skill.")) this.#steps.add(stepOf(action, context.role));
  }

  #closed(connection: string): void {
    if (!this.#open.delete(connection)) throw wrong("A connection ended that was not open.");
  }

  #sealed(): void {
    const calls = this.#budget?.openCount ?? 0;
    if (calls > 0) throw wrong(`${calls} model calls have no end.`);
    if (this.#open.size > 0) throw wrong(`${this.#open.size} connections have no end.`);
  }

  /** One budget for the whole run. */
  #budgetOf(given: ModelBudget): CallBudget {
    this.#budget ??= new CallBudget(given);
    expectEqual(digestOf(given), digestOf(this.#budget.budget), "The budget");
    return this.#budget;
  }
}

/** Refusals of one kind: only after the first hundred may some have no entry of their own. */
class Refusals {
  #told = 0;
  /** Those without an entry, too. */
  total = 0;

  /** @throws ERR_VERIFY_INVALID */
  count(leftOut = 0): void {
    if (leftOut > 0 && this.#told < REFUSALS_TOLD)
      throw wrong(
        `Refusals were left out after ${this.#told}: the first hundred have an entry each.`,
      );
    this.#told += 1;
    this.total += leftOut + 1;
  }
}

function stepOf({ type, resource }: { type: string; resource: string }, role: string): string {
  return canonicalize([type, resource, role]);
}

function expectAmount(found: Amount, expected: Amount): void {
  expectEqual(found.tokens, expected.tokens, "The tokens that count");
  expectEqual(found.microusd, expected.microusd, "The cost that counts");
}

function expectTotals(found: ModelTotals, expected: ModelTotals): void {
  for (const name of Object.keys(expected) as (keyof ModelTotals)[]) {
    expectEqual(found[name], expected[name], `The total of ${name}`);
  }
}

import { fixClass, deepFreeze } from "../json/index.ts";
import type { ErrorCode } from "../errors/index.ts";
import type {
  EntryData,
  LedgerEntry,
  ModelBudget,
  ModelCallEnd,
  ModelTotals,
  ModelUsage,
} from "../formats/index.ts";

/** Tokens and money; null where no price is known. */
export interface Amount {
  readonly tokens: number;
  readonly microusd: number | null;
}

export const NO_CALLS: ModelTotals = deepFreeze({
  calls: 0,
  tokens: 0,
  microusd: 0,
  reserved_tokens: 0,
  reserved_microusd: 0,
  unpriced: 0,
});

/** Ends of which it is certain that nothing is to be paid for. */
const FREE: ReadonlySet<ModelCallEnd> = new Set(["refused", "unreachable"]);

/** What a call counts as: its cost, or everything that was held where nobody knows the cost. */
export function chargeOf(
  ended: ModelCallEnd,
  usage: ModelUsage | null,
  cost: number | null,
  held: Amount,
): Amount {
  if (usage !== null) return { tokens: usage.input + usage.output, microusd: cost };
  return FREE.has(ended) ? { tokens: 0, microusd: 0 } : held;
}

/** The run's calls, counted. */
export class CallBudget {
  readonly budget: ModelBudget;
  readonly #open = new Map<string, Amount>();
  #totals: ModelTotals = NO_CALLS;
  /** Calls that were let through and ask for an answer: one that only counts tokens is none. */
  #turns = 0;

  constructor(budget: ModelBudget) {
    this.budget = budget;
    Object.freeze(this);
  }

  get totals(): ModelTotals {
    return this.#totals;
  }

  /** Calls that are held and have not ended. */
  get open(): readonly string[] {
    return [...this.#open.keys()];
  }

  /** How many they are, without a list of them. */
  get openCount(): number {
    return this.#open.size;
  }

  held(call: string): Amount | null {
    return this.#open.get(call) ?? null;
  }

  /** Why so much more cannot be held; null where it can. */
  refusal({ tokens, microusd }: Amount): { code: ErrorCode; reason: string } | null {
    const { budget } = this;
    const all = this.#totals;
    if (budget.turns !== undefined && tokens > 0 && this.#turns >= budget.turns) {
      const reason = `The run may make ${budget.turns} model calls, and has made ${this.#turns}. Start a run that may make more: agent run --max-turns NUMBER.`;
      return { code: "ERR_MODEL_TURNS", reason };
    }
    if (budget.tokens !== null) {
      const used = all.tokens + all.reserved_tokens;
      if (used + tokens > budget.tokens) {
        const reason = `The budget of ${budget.tokens} tokens does not cover this call: ${used} are used or held, and it may take ${tokens} more.`;
        return { code: "ERR_MODEL_BUDGET", reason };
      }
    }
    if (budget.microusd === null) return null;
    if (microusd === null) {
      const reason = `No price is known for this model, so a budget of ${dollars(budget.microusd)} cannot be held. Set its price with sovereign models add, or limit tokens instead.`;
      return { code: "ERR_MODEL_PRICE", reason };
    }
    const used = all.microusd + all.reserved_microusd;
    if (used + microusd <= budget.microusd) return null;
    const reason = `The budget of ${dollars(budget.microusd)} does not cover this call: it needs ${dollars(microusd)}, the most that up to ${tokens} tokens can cost, and ${dollars(Math.max(0, budget.microusd - used))} is left, because ${dollars(used)} is used or reserved. Start a run with a budget of at least ${dollars(upToCent(used + microusd))}: agent run --budget DOLLARS.`;
    return { code: "ERR_MODEL_BUDGET", reason };
  }

  /** @returns the totals with this call held */
  afterReserve({ tokens, microusd }: Amount): ModelTotals {
    const all = this.#totals;
    return {
      ...all,
      calls: all.calls + 1,
      reserved_tokens: all.reserved_tokens + tokens,
      reserved_microusd: all.reserved_microusd + (microusd ?? 0),
    };
  }

  reserve(call: string, amount: Amount): void {
    this.#totals = this.afterReserve(amount);
    if (amount.tokens > 0) this.#turns += 1;
    this.#open.set(call, amount);
  }

  /** @returns the totals once a held call has ended */
  afterEnd(held: Amount, charged: Amount): ModelTotals {
    const all = this.#totals;
    return {
      calls: all.calls,
      tokens: all.tokens + charged.tokens,
      microusd: all.microusd + (charged.microusd ?? 0),
      reserved_tokens: all.reserved_tokens - held.tokens,
      reserved_microusd: all.reserved_microusd - (held.microusd ?? 0),
      unpriced: all.unpriced + (charged.microusd === null && charged.tokens > 0 ? 1 : 0),
    };
  }

  end(call: string, held: Amount, charged: Amount): void {
    this.#totals = this.afterEnd(held, charged);
    this.#open.delete(call);
  }

  /** Count what an earlier process recorded. */
  replay({ event_type: event, data }: Pick<LedgerEntry, "event_type" | "data">): void {
    if (event === "llm.reserved") {
      const { call, reserved } = data as EntryData<"llm.reserved">;
      this.reserve(call, reserved);
    }
    if (event !== "llm.called") return;
    const { call, charged } = data as EntryData<"llm.called">;
    const held = this.#open.get(call);
    if (held !== undefined) this.end(call, held, charged);
  }
}

fixClass(CallBudget);

function upToCent(microusd: number): number {
  return Math.ceil(microusd / 10_000) * 10_000;
}

/** Millionths of a dollar as people read them. */
export function dollars(microusd: number): string {
  return `$${(microusd / 1_000_000).toFixed(microusd % 10_000 === 0 ? 2 : 6)}`;
}

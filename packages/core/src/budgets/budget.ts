import { deepFreeze } from "../json/index.ts";
import type { JsonObject, JsonValue, LedgerEntry } from "../formats/index.ts";

export type BudgetScope = "tenant_month" | "agent_day" | "run";

/** What budgets count: millionths of a dollar, tokens, steps, milliseconds. */
export const BUDGET_UNITS = deepFreeze(["microusd", "tokens", "steps", "ms"] as const);

/** The most that may be used; null for no limit. */
export type BudgetLimits = Readonly<Record<(typeof BUDGET_UNITS)[number], number | null>>;

export interface BudgetSetting extends BudgetLimits {
  readonly scope: BudgetScope;
  /** Of an agent its id, of a run its id; empty for the tenant. */
  readonly subject: string;
}

/** The most that one attempt of a step uses. */
export interface BudgetAmount {
  readonly microusd: number;
  readonly tokens: number;
  readonly ms: number;
}

/** What is held for an attempt of a step, from its authorisation on. */
export interface BudgetHold extends BudgetAmount {
  readonly run_id: string;
  readonly step_id: string;
  readonly attempt: number;
  readonly agent: string;
  readonly held_at: string;
}

/** What an attempt that ended used; null where nobody knows, which counts as what was held. */
export interface BudgetEnd {
  readonly run_id: string;
  readonly step_id: string;
  readonly attempt: number;
  readonly microusd: number | null;
  readonly tokens: number | null;
  readonly ended_at: string;
}

type Entry = Pick<LedgerEntry, "event_type" | "data" | "stream" | "timestamp">;

/** What an entry holds of budgets; null where it holds nothing. */
export function budgetHoldOf({ event_type, data, stream, timestamp }: Entry): BudgetHold | null {
  const { reserved, context } = data;
  if (event_type !== "execution.authorized" || reserved === undefined) return null;
  const { agent, microusd, tokens, ms } = objectOf(reserved);
  const { step_id, attempt } = objectOf(context ?? null);
  return {
    run_id: stream,
    step_id: textOf(step_id),
    attempt: numberOf(attempt) ?? 0,
    agent: textOf(agent),
    microusd: numberOf(microusd) ?? 0,
    tokens: numberOf(tokens) ?? 0,
    ms: numberOf(ms) ?? 0,
    held_at: timestamp,
  };
}

const ENDS: ReadonlySet<string> = new Set([
  "execution.completed",
  "execution.failed",
  "execution.killed",
]);

/** What an entry says was used; null where it ends nothing. What failed may have cost what was held. */
export function budgetEndOf({ event_type, data, stream, timestamp }: Entry): BudgetEnd | null {
  if (!ENDS.has(event_type)) return null;
  const { step_id, attempt, output } = data;
  const done = event_type === "execution.completed";
  const { cost_microusd, tokens } = objectOf(output ?? null);
  return {
    run_id: stream,
    step_id: textOf(step_id),
    attempt: numberOf(attempt) ?? 0,
    microusd: done ? numberOf(cost_microusd) : null,
    tokens: done ? (numberOf(tokens) ?? 0) : null,
    ended_at: timestamp,
  };
}

function objectOf(value: JsonValue): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function numberOf(value: JsonValue | undefined): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function textOf(value: JsonValue | undefined): string {
  return typeof value === "string" ? value : "";
}

import { type BudgetLimits, SovereignError } from "@sovereign/core";

/** Limits that somebody names: null takes a limit away, what is absent stays as it is. */
export type NamedLimits = Readonly<Partial<BudgetLimits>>;

export const NO_LIMITS: BudgetLimits = { microusd: null, tokens: null, steps: null, ms: null };
const LIMIT_MAX = 1e15;

const CENT = 10_000;
const SECOND = 1000;

/** Limits in the units in which people say them; null takes one away. */
export interface SaidLimits {
  readonly cents?: number | null;
  readonly tokens?: number | null;
  readonly steps?: number | null;
  readonly seconds?: number | null;
}

export function limitsOf({ cents, tokens, steps, seconds }: SaidLimits): NamedLimits {
  const times = (value: number | null, factor: number): number | null =>
    value === null ? null : value * factor;
  return {
    ...(cents === undefined ? {} : { microusd: times(cents, CENT) }),
    ...(tokens === undefined ? {} : { tokens }),
    ...(steps === undefined ? {} : { steps }),
    ...(seconds === undefined ? {} : { ms: times(seconds, SECOND) }),
  };
}

/** @throws ERR_BUDGET_INVALID for what is no limit */
export function checkLimits(limits: NamedLimits): NamedLimits {
  const wrong = Object.entries(limits).find(
    ([, value]) => value !== null && !(Number.isInteger(value) && value > 0 && value <= LIMIT_MAX),
  );
  if (wrong === undefined) return limits;
  const text = `The limit of ${wrong[0]} is ${String(wrong[1])}: expected a whole number from 1 to ${LIMIT_MAX}, or none.`;
  throw new SovereignError("ERR_BUDGET_INVALID", text);
}

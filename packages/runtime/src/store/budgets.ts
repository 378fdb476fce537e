import type { BudgetLimits, BudgetScope, BudgetSetting } from "@sovereign/core";
import type { BudgetRows, BudgetUse, StoredHold } from "../runs/index.ts";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";

/** The rows of a tenant's budgets, as they stand. */
export function budgetRows(database: Database, tenant: string): BudgetRows {
  const claim = claimOf(tenant);
  return {
    settings: (scope, subject) =>
      database.read(claim, async (client) => {
        const found = await client.query<Record<keyof BudgetLimits, string | null> & Named>(
          "select scope, subject, microusd, tokens, steps, ms from sovereign.budgets where ($1::text is null or scope = $1) and ($2::text is null or subject = $2) order by scope desc, subject limit 1000",
          [scope, subject],
        );
        return found.rows.map(
          (row): BudgetSetting => ({
            scope: row.scope,
            subject: row.subject,
            microusd: maybe(row.microusd),
            tokens: maybe(row.tokens),
            steps: maybe(row.steps),
            ms: maybe(row.ms),
          }),
        );
      }),
    use: (scope, subject, period) =>
      database.read(claim, async (client) => {
        const found = await client.query<Record<keyof BudgetUse, string>>(
          `select ${USE.join(", ")} from sovereign.budget_use where scope = $1 and subject = $2 and period = $3`,
          [scope, subject, period],
        );
        const [row] = found.rows;
        const read = (name: keyof BudgetUse): number => Number(row?.[name] ?? 0);
        return Object.fromEntries(USE.map((name) => [name, read(name)])) as unknown as BudgetUse;
      }),
    holds: (runId) =>
      database.read(claim, async (client) => {
        const found = await client.query<HoldRecord>(
          "select run_id, step_id, attempt, agent, microusd, tokens, ms, held_at, used_microusd, used_tokens, used_ms from sovereign.budget_holds where run_id = $1 order by step_id, attempt limit 20000",
          [runId],
        );
        return found.rows.map(
          (row): StoredHold => ({
            ...row,
            attempt: Number(row.attempt),
            microusd: Number(row.microusd),
            tokens: Number(row.tokens),
            ms: Number(row.ms),
            used_microusd: maybe(row.used_microusd),
            used_tokens: maybe(row.used_tokens),
            used_ms: maybe(row.used_ms),
          }),
        );
      }),
  };
}

interface Named {
  readonly scope: BudgetScope;
  readonly subject: string;
}

type Texts = "run_id" | "step_id" | "agent" | "held_at";
type HoldRecord = Pick<StoredHold, Texts> &
  Record<Exclude<keyof StoredHold, Texts | Used>, string> &
  Record<Used, string | null>;
type Used = "used_microusd" | "used_tokens" | "used_ms";

const USE: readonly (keyof BudgetUse)[] = [
  "held_microusd",
  "held_tokens",
  "held_steps",
  "held_ms",
  "used_microusd",
  "used_tokens",
  "used_steps",
  "used_ms",
];

function maybe(value: string | null): number | null {
  return value === null ? null : Number(value);
}

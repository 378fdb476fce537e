import type { Command } from "commander";
import { parseRunId } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { table } from "../output.ts";
import type { BudgetReport } from "../../services/index.ts";
import { userName } from "../who.ts";
import { type LimitFlags, limitsSaid, withLimits } from "./budget-flags.ts";

/** What a tenant's runs may use. */
export function budgetsCommands(program: Command, { services, output }: CommandContext): void {
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const tell = (found: readonly BudgetReport[]): void => {
    if (output.json) for (const { use, ...one } of found) output.printJson({ ...one, ...use });
    else output.print(listed(found));
  };
  const budgets = program
    .command("budgets")
    .description("limit what a tenant's goals may use, and show what they used");
  withLimits(budgets.command("set"))
    .description("set limits of a tenant for each month, or of an agent for each day (UTC)")
    .option("--agent-id <id>", "the agent; without it, the tenant")
    .option("--by <name>", "who says so; without it, your user name on this machine")
    .action(async (flags: LimitFlags & { agentId?: string; by?: string }) => {
      const { agentId = null, by = userName() } = flags;
      tell([await services.setBudget(tenant(), agentId, limitsSaid(flags), by)]);
    });
  budgets
    .command("show")
    .description("show limits, and what is held and was used in the present period")
    .option("--run <run>", "also of this run", parseRunId)
    .action(async ({ run = null }: { run?: string | null }) => {
      tell(await services.showBudgets(tenant(), run));
    });
}

function listed(found: readonly BudgetReport[]): string {
  const rows = found.flatMap(({ scope, subject, period, use, ...limits }) => {
    const row = (unit: string, limit: number | null, held: number, used: number): string[] => [
      scope,
      subject,
      period,
      unit,
      limit === null ? "none" : String(limit),
      String(held),
      String(used),
    ];
    const cents = (microusd: number): number => microusd / 10_000;
    return [
      row(
        "cents",
        limits.microusd === null ? null : cents(limits.microusd),
        cents(use.held_microusd),
        cents(use.used_microusd),
      ),
      row("tokens", limits.tokens, use.held_tokens, use.used_tokens),
      row("steps", limits.steps, use.held_steps, use.used_steps),
      row(
        "seconds",
        limits.ms === null ? null : limits.ms / 1000,
        use.held_ms / 1000,
        use.used_ms / 1000,
      ),
    ];
  });
  return table([["BUDGET", "OF", "PERIOD", "UNIT", "LIMIT", "HELD", "USED"], ...rows]);
}

import {
  type BudgetScope,
  type BudgetSetting,
  type ErrorCode,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import type { BudgetUse } from "../../runs/index.ts";
import { timestampOf } from "../../system/index.ts";
import { checkWho, recordOperation } from "../incidents/record-operation.ts";
import { goalWords } from "../goals/goal-plan.ts";
import type { Opened } from "../opened.ts";
import { checkLimits, type NamedLimits, NO_LIMITS } from "./limits.ts";

/** A budget, and what is held and was used of it in the present period. */
export interface BudgetReport extends BudgetSetting {
  /** Such as `2026-11`, `2026-11-29`, or empty for a run. */
  readonly period: string;
  readonly use: BudgetUse;
}

export interface BudgetServices {
  /** @param agentId null for the tenant's own budget, of a month; else the agent's, of a day */
  setBudget(
    tenantId: string,
    agentId: string | null,
    limits: NamedLimits,
    by: string,
  ): Promise<BudgetReport>;
  /** The tenant's, all of its agents', and that of a run where one is named. */
  showBudgets(tenantId: string, runId: string | null): Promise<readonly BudgetReport[]>;
}

export function budgetServices(opened: Opened): BudgetServices {
  return {
    setBudget: (tenantId, agentId, limits, by) =>
      opened((installation) => setBudget(installation, tenantId, agentId, limits, by)),
    showBudgets: (tenantId, runId) =>
      opened((installation) => showBudgets(installation, tenantId, runId)),
  };
}

const INVALID: ErrorCode = "ERR_BUDGET_INVALID";

async function setBudget(
  installation: Installation,
  tenantId: string,
  agentId: string | null,
  limits: NamedLimits,
  by: string,
): Promise<BudgetReport> {
  const named = checkLimits(limits);
  if (Object.keys(named).length === 0) {
    const text = "Expected at least one limit. Type: sovereign budgets set --cents N";
    throw new SovereignError("ERR_BUDGET_INVALID", text);
  }
  if (agentId !== null) parseFormat(goalWords.shape.agent_id, agentId, "--agent-id", INVALID);
  const scope = agentId === null ? "tenant_month" : "agent_day";
  const subject = agentId ?? "";
  const rows = installation.store.budgets(tenantId);
  const [before] = await rows.settings(scope, subject);
  const setting = { ...NO_LIMITS, ...before, ...named, scope, subject } as const;
  const { microusd, tokens, steps, ms } = setting;
  const data = { scope, subject, microusd, tokens, steps, ms, by: checkWho(by) };
  const about = { event: "budget.set", severity: "INFO", data, runId: null } as const;
  await recordOperation(installation, tenantId, about, { budget: setting });
  return report(installation, tenantId, setting);
}

async function showBudgets(
  installation: Installation,
  tenantId: string,
  runId: string | null,
): Promise<readonly BudgetReport[]> {
  const rows = installation.store.budgets(tenantId);
  const found = await rows.settings(null, null);
  const shown = found.filter(({ scope, subject }) => scope !== "run" || subject === runId);
  const tenant: BudgetSetting = { ...NO_LIMITS, scope: "tenant_month", subject: "" };
  const isMissing = !shown.some(({ scope }) => scope === "tenant_month");
  const all = isMissing ? [tenant, ...shown] : shown;
  if (runId !== null && !shown.some(({ scope }) => scope === "run")) {
    all.push({ ...NO_LIMITS, scope: "run", subject: runId });
  }
  return Promise.all(all.map((one) => report(installation, tenantId, one)));
}

async function report(
  { store, clock }: Installation,
  tenantId: string,
  setting: BudgetSetting,
): Promise<BudgetReport> {
  const { scope, subject } = setting;
  const period = timestampOf(clock).slice(0, PERIOD[scope]);
  return { ...setting, period, use: await store.budgets(tenantId).use(scope, subject, period) };
}

/** How much of an instant names the period. */
const PERIOD: Readonly<Record<BudgetScope, number>> = { tenant_month: 7, agent_day: 10, run: 0 };

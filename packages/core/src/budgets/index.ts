export {
  BUDGET_UNITS,
  type BudgetAmount,
  type BudgetEnd,
  budgetEndOf,
  type BudgetHold,
  budgetHoldOf,
  type BudgetLimits,
  type BudgetScope,
  type BudgetSetting,
} from "./budget.ts";

export { type Amount, CallBudget, chargeOf, dollars, NO_CALLS } from "./call-budget.ts";

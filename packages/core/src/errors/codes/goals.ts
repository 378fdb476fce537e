import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by planning, skills and runs of goals. */
export const goalsCodes = {
  ERR_PLAN_INVALID: row.input("The plan is not one that can be run."),
  ERR_PLAN_REFERENCE: row.input("A reference of the plan leads to nothing."),
  ERR_PLAN_MISSING: row.input("There is no plan for the goal."),
  ERR_IDEMPOTENCY_CONFLICT: { ...row.input("The key is that of another run."), http: 409 },
  ERR_PLANNER_FAILED: row.fatal("The model gave no plan."),
  ERR_SKILL_UNKNOWN: { ...row.input("No such skill."), http: 404 },
  ERR_SKILL_INPUT: row.input("A skill was given what it does not take."),
  ERR_SKILL_ADDRESS: row.denied("A host has an address that the policy does not open."),
  ERR_SKILL_FAILED: row.fatal("A skill failed."),
  ERR_SKILL_TIMEOUT: row.fatal("A skill did not end in time."),
  ERR_BUDGET_INVALID: row.input("A limit of a budget is none that can be set."),
  ERR_BUDGET_EXCEEDED: { ...row.denied("A budget has no room for the step."), http: 402 },
  ERR_BREAKER_OPEN: row.transient("A host failed again and again, and is left alone for a while."),
  ERR_SKILL_MANIFEST: row.input("A folder is no skill that can be trusted."),
  ERR_SKILL_CHANGED: row.integrity("A skill of one's own is not as it was trusted, or planned."),
  ERR_SECRET_INVALID: row.input("A secret's name, value or hosts cannot be used."),
  ERR_SECRET_UNKNOWN: { ...row.input("The tenant has no secret of this name."), http: 404 },
  ERR_SECRET_DENIED: row.denied("A secret is not sent to this host."),
  ERR_SKILL_GATEWAY: row.fatal("The gateway of skills cannot be started, or has died."),
  ERR_SECRET_FILE: row.integrity("The file of a secret is not as it was written."),
  ERR_OUTCOME_UNKNOWN: row.fatal("Nobody knows whether a step happened."),
  ERR_ENFORCEMENT_MISSING: row.integrity("A step ran without its authorisation in the ledger."),
} as const satisfies Record<string, ErrorRow>;

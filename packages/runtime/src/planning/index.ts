export { type CheckedPlan, type CheckedStep, checkPlan } from "./check-plan.ts";
export { type Plan, planFile, parsePlan, readPlanFile, withInputs } from "./plan-format.ts";
export {
  MODEL_PLAN,
  type PlannableSkill,
  planningQuestion,
  readProposal,
  repairQuestion,
} from "./model-planner.ts";
export { PLANNERS, type PlannerName, planWithStub } from "./planners.ts";
export { referencesIn, resolveReferences } from "./references.ts";
export { runSchedule, type StepEnd } from "./schedule.ts";

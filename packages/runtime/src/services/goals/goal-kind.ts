import { join } from "node:path";
import {
  type BudgetLimits,
  canonicalBytes,
  digestOf,
  fields,
  GENESIS_HASH,
  type JsonObject,
  type Mode,
  SovereignError,
} from "@sovereign/core";
import {
  type CheckedPlan,
  type PlannerName,
  referencesIn,
  resolveReferences,
} from "../../planning/index.ts";
import {
  type CompiledPolicy,
  freezePolicy,
  openFrozenPolicy,
  PolicyEngine,
} from "../../policy/index.ts";
import { SecretStore } from "../../agents/index.ts";
import type { Installation } from "../../installation/index.ts";
import { findSkill, secretNames } from "../../skills/index.ts";
import { kindAt, replaceOwnFile, requireOwnFile } from "../../system/index.ts";
import type { ContentStore } from "../../runs/index.ts";
import { admittedCaller } from "../runs/admitted-caller.ts";
import { askedRoles } from "../runs/asked-roles.ts";
import {
  type Held,
  type KnownRun,
  NOTHING_HELD,
  type RunKind,
  type RunOptions,
} from "../runs/lifecycle.ts";
import {
  authorityOf,
  demandsOf,
  type OpenedSession,
  openRunSession,
} from "../runs/open-session.ts";
import { refuseTools } from "../runs/refuse-tools.ts";
import { actionOf, callsOf, type FrozenGoal, mostOf } from "./goal-step.ts";
import { type GoalWords, openGoalPlan, type PlannedBy } from "./goal-plan.ts";
import { type GoalSkills, goalSkills } from "./goal-skills.ts";
import { GoalWork } from "./goal-work.ts";

export interface GoalInput {
  readonly words: GoalWords;
  readonly planner: PlannerName;
  /** Where a model made the plan. */
  readonly plannedBy?: PlannedBy;
  readonly plan: CheckedPlan;
  readonly policy: CompiledPolicy;
  readonly role: string;
  readonly mode: Mode;
  /** The run's own limits; null for none. */
  readonly budget: BudgetLimits | null;
}

type Known = KnownRun<FrozenGoal, Held>;

const POLICY_FILE = "policy.json";

/** Goals of tenants: a plan of skills, stored before anything of it is done. */
export const GOAL: RunKind<GoalInput, FrozenGoal, Held> = {
  hold: async ({ installation, tenantId }, runId, { role, policy, plan }) => {
    refuseTools(policy, "goal", null);
    // A role without a key is told before there is a run, and so is a step that policy denies.
    await authorityOf(installation, null).signer("role", role);
    refuseDenied(policy, plan, { tenantId, runId, role });
    requireSecrets(installation, tenantId, plan);
    return NOTHING_HELD;
  },
  holdAgain: () => Promise.resolve(NOTHING_HELD),
  freeze: async ({ installation, tenantId, caller = null }, input, folder) => {
    const { policy } = input;
    const frozen = canonicalBytes(freezePolicy(policy));
    await installation.contents?.(tenantId).put(policy.digest, frozen);
    replaceOwnFile(join(folder, POLICY_FILE), frozen);
    const plan = planToStore(input);
    const { goal } = openGoalPlan("", canonicalBytes(plan));
    return { plan, goal, policy, caller };
  },
  open: async ({ installation }, { runId, tenantId, plan: bytes }) => {
    const { plan, goal } = openGoalPlan(runId, bytes);
    const path = join(installation.folder.run(runId), POLICY_FILE);
    const policy = await openPolicy(path, goal.policy_digest, installation.contents?.(tenantId));
    const caller = await admittedCaller(installation.store, tenantId, runId);
    return { plan, goal, policy, caller };
  },
  work: async (options, run) => new GoalWork(options, run, await openGoal(options, run)),
  asks: ({ policy }) => askedRoles(policy),
};

/** The plan as it is stored with the run. */
export function planToStore(input: GoalInput): JsonObject {
  const { words, planner, plannedBy, plan, policy, role, budget } = input;
  return {
    kind: "goal",
    ...words,
    planner,
    ...(plannedBy === undefined ? {} : { planned_by: plannedBy }),
    role,
    policy_digest: policy.digest,
    ...(budget === null ? {} : { budget: { ...budget } }),
    ...(plan as unknown as JsonObject),
  };
}

/**
 * The policy of a run, which another node may have frozen.
 * @throws ERR_RUN_DIVERGED where the file is not the policy that the plan names
 */
async function openPolicy(
  path: string,
  digest: string,
  contents: ContentStore | undefined,
): Promise<CompiledPolicy> {
  const elsewhere = kindAt(path) === null ? ((await contents?.get(digest)) ?? null) : null;
  const policy = openFrozenPolicy(elsewhere ?? requireOwnFile(path), path);
  if (policy.digest === digest) return policy;
  const text = `${path} is not the policy with which the run began.`;
  throw new SovereignError("ERR_RUN_DIVERGED", text, { expected: digest, found: policy.digest });
}

type OpenedGoal = OpenedSession & { readonly skills: GoalSkills };

async function openGoal(options: RunOptions, run: Known): Promise<OpenedGoal> {
  const { runId, mode, row } = run;
  const { plan, goal, policy, caller } = run.frozen;
  const { agent_id: agent, origin_system_id, planner } = goal;
  const submitter = caller === null ? {} : { caller };
  const decider = new PolicyEngine(policy);
  const made: { skills?: GoalSkills; opened?: OpenedSession } = {};
  const opened = await openRunSession(options, {
    runId,
    name: fields.name.safeParse(agent).success ? agent : "goal",
    mode,
    policy: decider,
    demands: demandsOf(policy),
    plan,
    // In the signed snapshot, whose digest each decision is made over.
    config: { agent_id: agent, origin_system_id, planner, mode, ...submitter },
    ...submitter,
    row,
    artifacts: "artifacts",
    moves: true,
    budget: { agent, limits: goal.budget ?? null, mostOf, calls: callsOf },
    effects: (artifacts, sandbox) => {
      const about = { options, runId, policy, decider, artifacts, sandbox };
      made.skills = goalSkills({ ...about, opened: () => known(made.opened) });
      return made.skills.effects;
    },
  });
  made.opened = opened;
  return { ...opened, skills: known(made.skills) };
}

/** Steps begin when the session is open, and a session asks for its effects. */
function known<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("the session is not open yet");
  return value;
}

/** What a step refers to is set before anything runs. @throws ERR_SECRET_UNKNOWN */
function requireSecrets({ folder }: Installation, tenantId: string, { steps }: CheckedPlan): void {
  // No value is opened here, so no passphrase is needed.
  const secrets = new SecretStore(join(folder.root, "secrets"), tenantId, null);
  for (const step of steps) {
    for (const name of secretNames(findSkill(step.skill), step.with)) secrets.require(name);
  }
}

/** Steps whose input is known before anything runs are held against the policy now. */
function refuseDenied(
  policy: CompiledPolicy,
  { steps, inputs }: CheckedPlan,
  { tenantId, runId, role }: { tenantId: string; runId: string; role: string },
): void {
  const engine = new PolicyEngine(policy);
  for (const step of steps) {
    if (referencesIn(step.with).some((one) => one.step !== null)) continue;
    const known = { inputs, outputs: null };
    const given = resolveReferences(step.with, known, step.id) as JsonObject;
    const action = actionOf(step, given);
    const decision = engine.decide(action, {
      tenant_id: tenantId,
      run_id: runId,
      step_id: step.id,
      attempt: 1,
      role,
      mode: "sovereign",
      config_digest: GENESIS_HASH,
      policy_digest: policy.digest,
    });
    if (decision.effect !== "deny") continue;
    const why = decision.reasons.join("; ") || "no rule allows this";
    const rule = `operations: [{ type: ${action.type}, resources: ["${action.resource}"] }]`;
    const text = `The step ${step.id} is denied: ${why}. Nothing was run. A policy that allows it says: ${rule}`;
    throw new SovereignError("ERR_POLICY_DENIED", text, { action: digestOf(action) });
  }
}

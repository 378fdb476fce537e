import { type Command, InvalidArgumentError, Option } from "commander";
import { parseName } from "../arguments.ts";
import { limit } from "./budget-flags.ts";
import { limitsOf, type Services } from "../../services/index.ts";

/** What the command line says of a goal. */
export interface GoalFlags {
  readonly goal?: string;
  readonly agentId?: string;
  readonly originSystemId: string;
  readonly plan?: string;
  readonly planner?: "stub" | "model";
  readonly plannerModel?: NonNullable<Goal["plannerModel"]>;
  readonly idempotencyKey?: string;
  readonly policy?: string;
  readonly input: readonly (readonly [string, string])[];
  readonly role: string;
  readonly wait: boolean;
  readonly priority?: number;
  readonly budgetCents?: number;
  readonly budgetTokens?: number;
  readonly budgetSteps?: number;
  readonly budgetSeconds?: number;
}

const GOAL_HELP = `
A goal: sovereign run --tenant-id acme --agent-id bot --goal "…" --plan plan.yaml --policy policy.yaml
The plan is checked, stored and named in the run's first entry before anything of it is done. The run ends
before the command does. Later: sovereign runs trace RUN, sovereign runs proof RUN.
The planner stub makes one HTTP request of the address that the goal names, and asks nobody. The planner model
asks a model, in a run of its own; the policy has to allow skill.llm_invoke and llm.call. Skills run in the
sandbox, kv_store in this process. Set what they sign in with by: sovereign secrets set`;

export function withGoal(command: Command): Command {
  return command
    .option("--goal <text>", "what is to be reached; needs --tenant-id and --agent-id")
    .option("--agent-id <id>", "the agent whose goal it is")
    .option("--origin-system-id <id>", "the system that submits the goal", "cli")
    .option("--plan <file>", "the goal's plan, in YAML or JSON")
    .addOption(
      new Option("--planner <name>", "who makes the plan instead").choices(["stub", "model"]),
    )
    .option("--planner-model <vendor/model>", "whom the planner model asks", vendorModel)
    .option("--policy <file>", "the policy; without it, policies/TENANT.yaml in the data folder")
    .option("--input <name=value>", "an input of the plan, as text; repeatable", inputs, [])
    .option("--idempotency-key <key>", "under the same key, the same run is not started twice")
    .option("--role <role>", "the role whose key signs for the steps", parseName, "runner")
    .option("--budget-cents <n>", "the most that the run may cost, in US cents", limit)
    .option("--budget-tokens <n>", "the most tokens of models that it may use", limit)
    .option("--budget-steps <n>", "the most attempts of steps", limit)
    .option("--budget-seconds <n>", "the most seconds in which its steps run", limit)
    .option("--no-wait", "leave the run to a worker: sovereign worker")
    .option("--priority <n>", "with --no-wait: -100 to 100, the highest comes first", priority)
    .addHelpText("after", GOAL_HELP);
}

function vendorModel(text: string): NonNullable<Goal["plannerModel"]> {
  const [, vendor, model] = /^([^/]+)\/(.+)$/.exec(text) ?? [];
  if (vendor !== undefined && model !== undefined) return { vendor, model };
  throw new InvalidArgumentError("expected VENDOR/MODEL, with a vendor of: sovereign models list");
}

function priority(text: string): number {
  if (/^-?\d{1,3}$/.test(text) && Math.abs(Number(text)) <= 100) return Number(text);
  throw new InvalidArgumentError("expected a whole number from -100 to 100");
}

function inputs(text: string, before: [string, string][]): [string, string][] {
  const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]{0,60})=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) {
    throw new InvalidArgumentError("expected NAME=VALUE");
  }
  return [...before, [name, value]];
}

type Goal = Omit<
  Parameters<Services["runGoal"]>[0],
  "tenantId" | "approvers" | "signal" | "onProgress"
>;

function speaksOfGoal({ agentId, plan, planner, policy, wait }: GoalFlags): boolean {
  return !wait || [agentId, plan, planner, policy].some((one) => one !== undefined);
}

/** Null for a pipeline. There is no goal without a tenant and an agent. */
export function goalOf(
  program: Command,
  command: Command,
  file: string | undefined,
  flags: GoalFlags,
): Goal | null {
  const { goal, agentId, plan, planner } = flags;
  if (flags.priority !== undefined && flags.wait) command.error("--priority needs --no-wait");
  if (goal === undefined) {
    if (speaksOfGoal(flags)) command.error("expected --goal with --agent-id, --plan and --policy");
    return null;
  }
  const both = file !== undefined || (plan !== undefined && planner !== undefined);
  if (both) command.error("expected one of a pipeline's file, --plan and --planner, found two");
  if (!namesTenant(program) || agentId === undefined) {
    return command.error("--goal needs --tenant-id TENANT and --agent-id AGENT");
  }
  return { goal, agentId, ...planOf(flags) };
}

function planOf({
  originSystemId,
  plan,
  planner,
  plannerModel,
  policy,
  input,
  role,
  idempotencyKey,
  wait,
  priority,
  budgetCents: cents,
  budgetTokens: tokens,
  budgetSteps: steps,
  budgetSeconds: seconds,
}: GoalFlags): Omit<Goal, "goal" | "agentId"> {
  return {
    originSystemId,
    planFile: plan ?? null,
    planner: planner ?? "file",
    plannerModel: plannerModel ?? null,
    policyFile: policy ?? null,
    inputs: Object.fromEntries(input),
    role,
    idempotencyKey: idempotencyKey ?? null,
    priority: wait ? null : (priority ?? 0),
    limits: limitsOf({
      ...(cents === undefined ? {} : { cents }),
      ...(tokens === undefined ? {} : { tokens }),
      ...(steps === undefined ? {} : { steps }),
      ...(seconds === undefined ? {} : { seconds }),
    }),
  };
}

function namesTenant(program: Command): boolean {
  const { tenantId } = program.opts<{ tenantId?: string }>();
  return tenantId !== undefined || program.getOptionValueSource("tenant") === "cli";
}

import { type JsonObject, printable } from "@sovereign/core";
import type { Command } from "commander";
import { type ApproverFlags, approversOf, withApprover } from "../approver.ts";
import { parseName } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { exitOf, oneLine, type Output, table } from "../output.ts";
import { showProgress } from "../progress.ts";
import type {
  AgentDecision,
  AgentDoctorRow,
  ExecInput,
  PackInput,
  RunReport,
} from "../../services/index.ts";
import { compareCommand } from "./agent-compare.ts";
import { durationOf, numberIn, turnsOf } from "./agent-words.ts";
import { report } from "./run-report.ts";

export interface WorkFlags extends ApproverFlags {
  wait: string;
}
export interface RunFlags extends WorkFlags {
  repo: string;
  policy?: string;
  model?: string;
  command?: string;
  vendor?: string;
  budget?: string;
  maxTurns?: string;
  verify: string[];
  timeout?: string;
  apply?: true;
  branch?: string;
  role: string;
  taskPack?: string;
  scope: string[];
  forbid: string[];
  review?: true;
  transcript?: true;
  background?: true;
}

export function agentCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const agent = program
    .command("agent")
    .description("run a coding agent in the sandbox, under policy");
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const inputOf = (flags: WorkFlags): ExecInput => workInput(agent, context, tenant(), flags);

  withWork(withOrder(agent.command("run [agent] [task]")))
    .description("run one task; the result waits on a branch, or is applied at once with --apply")
    .option("--task-pack <file>", "carry out a task pack instead of words: sovereign tool pack")
    .option("--background", "return when the run has begun; see: sovereign agent log RUN --follow")
    .action(async (name: string | undefined, task: string | undefined, flags: RunFlags) => {
      if (flags.apply === true && flags.branch !== undefined) {
        agent.error("expected --apply or --branch, found both");
      }
      if (flags.background === true) {
        const words = context.words.filter((word) => word !== "--background");
        const { run, log, pid } = await services.startAgentInBackground(words);
        if (output.json) output.printJson({ run, log, pid });
        else
          output.print(
            oneLine`run: ${run}\nlog: ${log}\nthen: sovereign agent log ${run} --follow`,
          );
        return;
      }
      const input = { ...inputOf(flags), ...placeOf(flags) };
      context.exit = tell(output, await started(name, task, input, flags), approversOf(flags));
    });

  const started = (
    name: string | undefined,
    task: string | undefined,
    input: ExecInput & ReturnType<typeof placeOf>,
    flags: RunFlags,
  ): Promise<RunReport> => {
    const { taskPack: file } = flags;
    if (file !== undefined) {
      if (name !== undefined || isLimited(flags)) {
        agent.error(
          "expected --task-pack alone: the pack says which agent, which task and which limits",
        );
      }
      return services.dispatchTool({ ...input, file });
    }
    if (name === undefined || task === undefined) {
      return agent.error('expected an agent and its task, such as: claude "Fix the failing test"');
    }
    return services.runAgent({ ...input, ...taskOf(agent, flags), agent: name, task });
  };

  const goOn = (decision: AgentDecision) => async (runId: string, flags: WorkFlags) => {
    const input = { ...inputOf(flags), decision };
    const result = await services.continueAgent(runId, input);
    context.exit = decision === "discard" ? tellDiscarded(output, result) : tell(output, result);
  };
  withWork(agent.command("apply <run>"))
    .description("apply the result to the current branch, with approvals when policy asks for them")
    .action(goOn("apply"));
  withWork(agent.command("discard <run>"))
    .description("throw the result away; its evidence is kept")
    .action(goOn("discard"));
  withWork(agent.command("resume <run>"))
    .description("resume a run that was killed; an agent that had not ended begins again")
    .action(goOn("hold"));

  compareCommand(agent, context, inputOf);
  addLooks(agent, context, tenant);
}

/** What every command needs that has an agent work. */
export function workInput(
  command: Command,
  { output, signal }: CommandContext,
  tenantId: string,
  flags: WorkFlags,
): ExecInput {
  return {
    tenantId,
    approvers: approversOf(flags),
    signal,
    waitMs: numberIn(command, "--wait", flags.wait) * 1000,
    onProgress: showProgress(output),
  };
}

/** Where it works, for whom, and what becomes of the result. */
export function placeOf(
  flags: Pick<
    RunFlags,
    "apply" | "repo" | "policy" | "role" | "command" | "vendor" | "branch" | "transcript"
  >,
): {
  readonly decision: AgentDecision;
  readonly repository: string;
  readonly policy: string | undefined;
  readonly role: string;
  readonly command: string | null;
  readonly vendor: string | null;
  readonly branch: string | null;
  readonly transcript: boolean;
} {
  return {
    decision: flags.apply === true ? "apply" : "hold",
    repository: flags.repo,
    policy: flags.policy,
    role: flags.role,
    command: flags.command ?? null,
    vendor: flags.vendor ?? null,
    branch: flags.branch ?? null,
    transcript: flags.transcript === true,
  };
}

/** The limits of a task, and how its result is looked at. */
export function taskOf(
  command: Command,
  flags: RunFlags,
): Pick<
  PackInput,
  | "model"
  | "budgetMicrousd"
  | "turnsMax"
  | "timeoutSeconds"
  | "verify"
  | "scope"
  | "forbid"
  | "review"
> {
  const { model, budget, maxTurns, timeout, verify, scope, forbid } = flags;
  return {
    model: model ?? null,
    budgetMicrousd:
      budget === undefined ? null : Math.round(numberIn(command, "--budget", budget) * 1_000_000),
    turnsMax: turnsOf(command, maxTurns),
    timeoutSeconds: timeout === undefined ? null : durationOf(command, timeout),
    verify,
    scope,
    forbid,
    review: flags.review === true,
  };
}

function isLimited(flags: RunFlags): boolean {
  const { model, budget, maxTurns, timeout, verify, scope, forbid, review } = flags;
  const lists = [verify, scope, forbid].some((one) => one.length > 0);
  return lists || [model, budget, maxTurns, timeout, review].some((one) => one !== undefined);
}

function addLooks(agent: Command, context: CommandContext, tenant: () => string): void {
  const { services, output, signal } = context;
  agent
    .command("diff <run>")
    .description("print what the agent changed, as a patch")
    .action(async (runId: string) => {
      const patch = Buffer.from(await services.agentDiff(tenant(), runId)).toString("utf8");
      if (output.json) output.printJson({ run: runId, patch });
      else output.print(patch.trimEnd());
    });
  agent
    .command("log <run>")
    .description("print what was asked, decided and done, from the ledger")
    .option("--follow", "print new entries until the run ends or waits")
    .action(async (runId: string, { follow = false }: { follow?: boolean }) => {
      const onEntry = (entry: JsonObject): void => {
        if (output.json) output.printJson(entry);
        else output.print(lineOf(entry));
      };
      await services.followAgent(tenant(), runId, { follow, signal, onEntry });
    });
  agent
    .command("list")
    .description("list the runs of agents, newest first")
    .action(async () => {
      const wanted = { limit: 50, status: null, kind: "agent" };
      const rows = await services.listRuns(tenant(), wanted);
      if (output.json) {
        for (const { runId, status, reason, createdAt } of rows) {
          output.printJson({ run: runId, status, reason, created_at: createdAt });
        }
        return;
      }
      const lines = rows.map((row) => [row.runId, row.status, row.createdAt, row.reason ?? ""]);
      output.print(table([["RUN", "STATUS", "CREATED", "WHY"], ...lines]));
    });
  agent
    .command("doctor")
    .description("check what each agent needs: program, version, hooks, sandbox and model")
    .option("--prove", "start each installed agent in the sandbox, and see that it asks and obeys")
    .addHelpText("after", DOCTOR_HELP)
    .action(async ({ prove = false }: { prove?: boolean }) => {
      const rows = await services.agentDoctor(tenant(), prove);
      const failed = rows.some(({ proved }) => proved?.ok === false);
      const ready = rows.filter((row) => row.ready && row.state === "found");
      context.exit = ready.length > 0 && !failed ? 0 : 1;
      if (output.json) {
        for (const row of rows) output.printJson(row);
        return;
      }
      output.print(rows.map(healthOf).join("\n"));
    });
}

const DOCTOR_HELP = `
Exits 0 if an agent is ready: its program is found, there is a sandbox, and a model can be reached. Each
run proves the agent's hooks before the work begins. The doctor shows the last run that did. It opens a
connection to each vendor of models and sends nothing. With --prove, it also starts each installed agent in
the sandbox with a made-up model that asks for one tool call, which is denied. No vendor is asked.`;

/** One agent's needs, a line each. */
function healthOf(row: AgentDoctorRow): string {
  const { agent, ready, state, version, tested, path, next, sandbox, wire, models } = row;
  const program = state === "named" ? "named at each run, by --command" : (path ?? state);
  const lines = [
    `${agent}: ${ready ? "ready" : "not ready"}`,
    `  program:  ${program}`,
    ...(tested === null ? [] : [`  version:  ${version ?? "none"} (tested: ${tested})`]),
    `  hooks:    ${hooksOf(row)}`,
    `  sandbox:  ${sandbox ?? "none; type: sovereign doctor"}`,
    ...models.map((one) => {
      const word = one.reachable ? "reachable" : "not reachable; check the network and --base-url";
      return oneLine`  model:    ${one.vendor} at ${one.url}: ${word}`;
    }),
  ];
  if (models.length === 0) {
    const speaks = wire === null ? "" : ` that speaks ${wire}`;
    lines.push(`  model:    no vendor${speaks}; type: sovereign models add --help`);
  }
  if (next !== null) lines.push(`  next:     ${next}`);
  return lines.join("\n");
}

function hooksOf({ hooks, proof, proved }: AgentDoctorRow): string {
  if (proved !== null) {
    return proved.ok
      ? `proved here in ${String(proved.wall_ms)} ms: it asked, and obeyed`
      : `NOT proved: ${proved.reason ?? ""}`;
  }
  if (proof === "none") return "none; the sandbox and the judged diff are the boundary";
  if (proof === "asked") return "the agent asks by itself; no run proves that it always does";
  if (hooks !== null) return oneLine`not proved now; proved in ${hooks.run} at ${hooks.at}`;
  return "not proved here; each run proves them before the work begins, and now: sovereign agent doctor --prove";
}

const BUDGET_HELP = `
Before each model call, the run reserves the most that the call can cost. After the call, the rest is free
again. The first call of claude reserves about $0.60, that of codex about $1.05. With a smaller --budget,
the first call is denied with ERR_MODEL_BUDGET. The denial shows the budget to type.`;

function withOrder(command: Command): Command {
  return withResult(withTask(command)).addHelpText("after", BUDGET_HELP);
}

/** What makes a task. */
export function withTask(command: Command): Command {
  return command
    .option("--repo <folder>", "a folder in the repository", ".")
    .option(
      "--policy <file>",
      "the policy; without it, .sovereign/policy.yaml, or else the built-in one",
    )
    .option("--model <name>", "the model that the agent asks for")
    .option(
      "--scope <path>",
      "where files may be changed, such as src or docs/**; repeatable; all of it without",
      collect,
      [],
    )
    .option("--forbid <path>", "what may not be changed, such as *.pem; repeatable", collect, [])
    .option("--review", "apply the result only with a reviewer's approval")
    .option(
      "--budget <dollars>",
      "refuse a model call that could cost more than what is left of this",
    )
    .option("--max-turns <number>", "refuse model calls after so many")
    .option(
      "--verify <command>",
      "a command that must succeed on the result; repeatable",
      collect,
      [],
    )
    .option(
      "--timeout <time>",
      "stop the agent after this time, such as 90s, 30m or 2h, or the policy's limit",
    );
}

/** Whose model works, and where its result goes. */
export function withResult(command: Command): Command {
  return command
    .option(
      "--command <words>",
      "for acp and custom: the agent's program and its arguments; {task} stands for the task",
    )
    .option("--vendor <name>", "the vendor of the model, if more than one is configured")
    .option("--apply", "apply the result at once")
    .option("--transcript", "keep what the agent prints as evidence, with secrets masked")
    .option("--branch <name>", "the new branch for the result; without it, sovereign/RUN")
    .option("--role <role>", "the role whose key signs what the agent does", parseName, "executor");
}

export function withWork(command: Command): Command {
  return withApprover(command).option(
    "--wait <seconds>",
    "how long to wait while another run uses the repository",
    "0",
  );
}

/** A result that waits is what was asked for. */
export function tell(output: Output, result: RunReport, approvers: readonly string[] = []): number {
  if (result.status !== "pending" || result.code !== null) {
    return report(output, result, "agent resume");
  }
  report(output, result, "agent diff");
  // Nobody consents to a result before it is there: whoever would, says so again.
  const consent = approvers.map((one) => ` --approver ${one}`).join("");
  if (!output.json) {
    output.print(oneLine`then: sovereign agent apply ${result.runId}${consent}, or: discard`);
  }
  return 0;
}

function tellDiscarded(output: Output, result: RunReport): number {
  report(output, result, "agent resume");
  return result.code === "ERR_AGENT_DISCARDED" ? 0 : exitOf(result.code);
}

function lineOf(entry: JsonObject): string {
  const words = ["at", "event", "step", "action", "reason"].map((name) => wordOf(entry[name]));
  const { extract } = entry;
  const said = extract === null || extract === undefined ? "" : ` ${JSON.stringify(extract)}`;
  return oneLine`${words.filter((word) => word !== "").join("  ")}${said}`;
}

function wordOf(value: JsonObject[string] | undefined): string {
  return typeof value === "string" ? printable(value) : "";
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

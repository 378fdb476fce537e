import type { JsonObject } from "@sovereign/core";
import type { Command } from "commander";
import { type ApproverFlags, approversOf, withApprover } from "../approver.ts";
import { parseName } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { exitOf, type Output, table } from "../output.ts";
import { showProgress } from "../progress.ts";
import type { AgentDecision, AgentDoctorRow, ExecInput, RunReport } from "../../services/index.ts";
import { report } from "./run.ts";

interface WorkFlags extends ApproverFlags {
  wait: string;
}
interface RunFlags extends WorkFlags {
  repo: string;
  policy?: string;
  model?: string;
  vendor?: string;
  budget?: string;
  verify: string[];
  timeout?: string;
  apply?: true;
  branch?: string;
  role: string;
}

export function agentCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const agent = program
    .command("agent")
    .description("run a coding agent in the sandbox, under policy");
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const inputOf = (flags: WorkFlags): ExecInput => ({
    tenantId: tenant(),
    approvers: approversOf(flags),
    signal: context.signal,
    waitMs: numberIn(agent, "--wait", flags.wait) * 1000,
    onProgress: showProgress(output),
  });

  withWork(withOrder(agent.command("run <agent> <task>")))
    .description("run one task; the result waits on a branch, or is applied at once with --apply")
    .action(async (name: string, task: string, flags: RunFlags) => {
      if (flags.apply === true && flags.branch !== undefined) {
        agent.error("expected --apply or --branch, found both");
      }
      const result = await services.runAgent({
        ...inputOf(flags),
        decision: flags.apply === true ? "apply" : "hold",
        agent: name,
        task,
        repository: flags.repo,
        policy: flags.policy,
        role: flags.role,
        model: flags.model ?? null,
        vendor: flags.vendor ?? null,
        budgetMicrousd:
          flags.budget === undefined
            ? null
            : Math.round(numberIn(agent, "--budget", flags.budget) * 1_000_000),
        timeoutSeconds: flags.timeout === undefined ? null : durationOf(agent, flags.timeout),
        verify: flags.verify,
        branch: flags.branch ?? null,
      });
      context.exit = tell(output, result);
    });

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

  addLooks(agent, context, tenant);
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
    .addHelpText("after", DOCTOR_HELP)
    .action(async () => {
      const rows = await services.agentDoctor(tenant());
      context.exit = rows.some((row) => row.ready) ? 0 : 1;
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
connection to each vendor of models and sends nothing.`;

/** One agent's needs, a line each. */
function healthOf(row: AgentDoctorRow): string {
  const { agent, ready, state, version, tested, path, next, hooks, sandbox, models } = row;
  const unproved = "not proved here yet; each run proves them before the work begins";
  const lines = [
    `${agent}: ${ready ? "ready" : "not ready"}`,
    `  program:  ${state === "found" ? (path ?? "") : state}`,
    `  version:  ${version ?? "none"} (tested: ${tested})`,
    `  hooks:    ${hooks === null ? unproved : `proved in ${hooks.run} at ${hooks.at}`}`,
    `  sandbox:  ${sandbox ?? "none; type: sovereign doctor"}`,
    ...models.map((one) => {
      const word = one.reachable ? "reachable" : "not reachable; check the network and --base-url";
      return `  model:    ${one.vendor} at ${one.url}: ${word}`;
    }),
  ];
  if (models.length === 0) lines.push("  model:    none; type: sovereign models add --help");
  if (next !== null) lines.push(`  next:     ${next}`);
  return lines.join("\n");
}

const BUDGET_HELP = `
Before each model call, the run reserves the most that the call can cost. After the call, the rest is free
again. The first call of claude reserves about $0.60, because its request has about 90 kB. With a smaller
--budget, the first call is denied with ERR_MODEL_BUDGET. The denial shows the budget to type.`;

function withOrder(command: Command): Command {
  return command
    .option("--repo <folder>", "a folder in the repository", ".")
    .option(
      "--policy <file>",
      "the policy; without it, .sovereign/policy.yaml, or else the built-in one",
    )
    .option("--model <name>", "the model that the agent asks for")
    .option("--vendor <name>", "the vendor of the model, if more than one is configured")
    .option(
      "--budget <dollars>",
      "refuse a model call that could cost more than what is left of this",
    )
    .option(
      "--verify <command>",
      "a command that must succeed on the result; repeatable",
      collect,
      [],
    )
    .option(
      "--timeout <time>",
      "stop the agent after this time, such as 90s, 30m or 2h, or the policy's limit",
    )
    .option("--apply", "apply the result at once")
    .option("--branch <name>", "the new branch for the result; without it, sovereign/RUN")
    .option("--role <role>", "the role whose key signs what the agent does", parseName, "executor")
    .addHelpText("after", BUDGET_HELP);
}

function withWork(command: Command): Command {
  return withApprover(command).option(
    "--wait <seconds>",
    "how long to wait while another run uses the repository",
    "0",
  );
}

/** A result that waits is what was asked for. */
function tell(output: Output, result: RunReport): number {
  if (result.status !== "pending" || result.code !== null) {
    return report(output, result, "agent resume");
  }
  report(output, result, "agent diff");
  if (!output.json) output.print(`then: sovereign agent apply ${result.runId}, or: discard`);
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
  return `${words.filter((word) => word !== "").join("  ")}${said}`;
}

function wordOf(value: JsonObject[string] | undefined): string {
  return typeof value === "string" ? value : "";
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function numberIn(command: Command, name: string, text: string): number {
  if (!/^\d{1,7}(\.\d{1,6})?$/.test(text)) command.error(`${name} ${text}: expected a number`);
  return Number(text);
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

function durationOf(command: Command, text: string): number {
  const [, count = "", unit = "s"] = /^(\d{1,5})([smh])?$/.exec(text) ?? [];
  const seconds = Number(count) * (UNITS[unit] ?? 1);
  if (count !== "" && seconds >= 1 && seconds <= 86_400) return seconds;
  return command.error(`--timeout ${text}: expected a time such as 90s, 30m or 2h`);
}

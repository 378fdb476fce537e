import type { Command } from "commander";
import type { AgentCompareReport, ExecInput } from "../../services/index.ts";
import { type ApproverFlags, withApprover } from "../approver.ts";
import { parseName } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { exitOf, oneLine, type Output, table } from "../output.ts";
import { durationOf, numberIn, turnsOf } from "./agent-words.ts";

interface CompareFlags extends ApproverFlags {
  with: string;
  repo: string;
  policy?: string;
  vendor?: string;
  budget?: string;
  maxTurns?: string;
  verify: string[];
  timeout?: string;
  validators: string;
  role: string;
  wait: string;
}

const HELP = `
Each agent does the task apart, in a run of its own. Then each validator makes the patch again from the
commit, asks the policy about each change, and runs every --verify command in a fresh sandbox. It signs its
vote with its own key. A result is accepted by two thirds of the validators and one more. Of the accepted
results, the smallest patch is chosen. It waits like any other result of an agent.

--with names the agents, and a model where it is not the agent's own: claude,codex or claude:MODEL,claude.
--budget and --max-turns hold for each agent.`;

/** `agent compare`: several agents, one verdict. */
export function compareCommand(
  agent: Command,
  context: CommandContext,
  inputOf: (flags: CompareFlags) => ExecInput,
): void {
  const { services, output } = context;
  withApprover(agent.command("compare <task>"))
    .description("give one task to several agents; validators vote on the results")
    .requiredOption("--with <agents>", "the agents, joined by commas")
    .option("--repo <folder>", "a folder in the repository", ".")
    .option("--policy <file>", "the policy; without it, as for agent run")
    .option("--vendor <name>", "the vendor of the models, if more than one is configured")
    .option("--budget <dollars>", "the budget of each agent")
    .option("--max-turns <number>", "refuse an agent's model calls after so many")
    .option(
      "--verify <command>",
      "a command that must succeed on a result; repeatable",
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .option("--timeout <time>", "stop an agent after this time, such as 90s, 30m or 2h")
    .option("--validators <count>", "how many validators judge each result", "3")
    .option("--role <role>", "the role whose key signs what the agents do", parseName, "executor")
    .option("--wait <seconds>", "how long to wait while another run uses the repository", "0")
    .addHelpText("after", HELP)
    .action(async (task: string, flags: CompareFlags) => {
      const result = await services.compareAgents({
        ...inputOf(flags),
        task,
        contenders: flags.with.split(",").map(contenderOf),
        validators: numberIn(agent, "--validators", flags.validators),
        repository: flags.repo,
        policy: flags.policy,
        role: flags.role,
        vendor: flags.vendor ?? null,
        budgetMicrousd:
          flags.budget === undefined
            ? null
            : Math.round(numberIn(agent, "--budget", flags.budget) * 1_000_000),
        turnsMax: turnsOf(agent, flags.maxTurns),
        timeoutSeconds: flags.timeout === undefined ? null : durationOf(agent, flags.timeout),
        verify: flags.verify,
        branch: null,
        command: null,
        scope: [],
        forbid: [],
        review: false,
      });
      tell(output, result);
      context.exit = result.code === null ? 0 : exitOf(result.code);
    });
}

function contenderOf(text: string): { agent: string; model: string | null } {
  const at = text.indexOf(":");
  const [agent, model] = at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + 1)];
  return { agent: agent.trim(), model };
}

function tell(output: Output, result: AgentCompareReport): void {
  if (output.json) {
    const { runId: run, results, ...rest } = result;
    output.printJson({ run, ...rest, results: results.map((one) => ({ ...one })) });
    return;
  }
  const rows = result.results.map((one) => {
    const { agent, model, run, commit, status, approvals, findings } = one;
    const verdict = status === null ? "no result" : `${status} (${approvals})`;
    return [agent, model, run, commit?.slice(0, 12) ?? "", verdict, findings.join("; ")];
  });
  output.print(table([["AGENT", "MODEL", "RUN", "COMMIT", "VOTES", "WHY"], ...rows]));
  if (result.bundle !== null)
    output.print(oneLine`bundle: ${result.bundle} (${result.verdict ?? ""})`);
  const { chosen, reason } = result;
  if (chosen === null) output.print(oneLine`none is accepted: ${reason ?? ""}`);
  else
    output.print(
      oneLine`then: sovereign agent diff ${chosen}, and: sovereign agent apply ${chosen}`,
    );
}

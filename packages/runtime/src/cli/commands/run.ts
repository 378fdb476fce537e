import type { Command } from "commander";
import { parseName } from "../arguments.ts";
import { exitOf, type Output } from "../output.ts";
import { addRunList } from "./runs.ts";
import { showProgress } from "../progress.ts";
import type { CommandContext } from "../context.ts";
import type { RunInput, RunReport } from "../../services/index.ts";

interface RunFlags {
  approve: string[];
  fault: string[];
  mode: string;
}

/** Names of roles, as often as the option is given. */
export const many = (value: string, before: string[]): string[] => [...before, parseName(value)];

export function runCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const run = program.command("run").description("run a pipeline, or go on with a run");
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const inputOf = (flags: Pick<RunFlags, "approve">): RunInput => ({
    tenantId: tenant(),
    approvers: flags.approve,
    signal: context.signal,
    onProgress: showProgress(output),
  });

  run
    .command("start <file>", { isDefault: true })
    .description("run a pipeline file (the word `start` may be left out)")
    .option(
      "--approve <role>",
      "consent with this role's key where policy asks; repeatable",
      many,
      [],
    )
    .option(
      "--fault <role>",
      "tell this role's agent to lie, to see it found; repeatable",
      many,
      [],
    )
    .option(
      "--mode <mode>",
      "sovereign, or compatible (without authority) if configured",
      "sovereign",
    )
    .action(async (file: string, flags: RunFlags) => {
      const mode = flags.mode === "compatible" ? "compatible" : "sovereign";
      if (flags.mode !== mode)
        program.error(`--mode ${flags.mode}: expected sovereign or compatible`);
      const input = { ...inputOf(flags), mode, faults: flags.fault } as const;
      context.exit = report(output, await services.run(file, input));
    });

  run
    .command("resume <run>")
    .description("go on from the last completed stage")
    .option(
      "--approve <role>",
      "consent with this role's key where policy asks; repeatable",
      many,
      [],
    )
    .action(async (runId: string, flags: RunFlags) => {
      context.exit = report(output, await services.resume(runId, inputOf(flags)));
    });

  addApprove(run, context, tenant);
  addRunList(run, context, tenant);
}

function addApprove(
  run: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  run
    .command("approve <run>")
    .description("consent to the action that a run waits for")
    .requiredOption("--as <role>", "the approver whose key is here", parseName)
    .action(async (runId: string, flags: { as: string }) => {
      const { stepId, required } = await services.approve(tenant(), runId, flags.as);
      if (output.json) output.printJson({ run: runId, step: stepId, approver: flags.as, required });
      else
        output.print(
          `${flags.as} approved ${stepId} (${required} needed). Next: sovereign run resume ${runId}`,
        );
    });
}

/** The last lines name the run, the verdict and the files. */
export function report(output: Output, result: RunReport, next = "run resume"): number {
  const { runId, status, reason, code, bundle, trustRoot, verdict } = result;
  if (output.json) {
    const files = { bundle, trust_root: trustRoot };
    output.printJson({ event: "run.ended", run: runId, status, reason, code, verdict, ...files });
  } else {
    output.print(`run: ${runId} ${status}${reason === null ? "" : `: ${reason}`}`);
    if (verdict !== null) output.print(`verdict: ${verdict}`);
    if (bundle !== null) output.print(`bundle: ${bundle}`);
    if (trustRoot !== null) output.print(`trust root: ${trustRoot}`);
    if (status === "pending") output.print(`next: sovereign ${next} ${runId}`);
  }
  return status === "completed" ? 0 : exitOf(code);
}

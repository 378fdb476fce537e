import type { Command } from "commander";
import { type ApproverFlags, approversOf, withApprover } from "../approver.ts";
import { many } from "../arguments.ts";
import { addRunEnds } from "./run-ends.ts";
import { report } from "./run-report.ts";
import { addRunLooks } from "./runs.ts";
import { showProgress } from "../progress.ts";
import { type GoalFlags, goalOf, withGoal } from "./goal-flags.ts";
import type { CommandContext } from "../context.ts";
import type { RunInput } from "../../services/index.ts";
import { forTenant, oneLine } from "../output.ts";

interface ResumeFlags extends ApproverFlags {
  retryFailed: boolean;
  wait: boolean;
}

interface RunFlags extends ApproverFlags, GoalFlags {
  fault: string[];
  mode: string;
}

export function runCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const run = program.command("run").description("run a pipeline, or resume a run");
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const inputOf = (flags: ApproverFlags): RunInput => ({
    tenantId: tenant(),
    approvers: approversOf(flags),
    signal: context.signal,
    onProgress: showProgress(output),
  });

  withGoal(withApprover(run.command("start [file]", { isDefault: true })))
    .description("run a pipeline file, or a tenant's goal; `sovereign run …` is the same")
    .option(
      "--fault <role>",
      "make this role's agent lie, to test that it is found; repeatable",
      many,
      [],
    )
    .option(
      "--mode <mode>",
      "sovereign; or compatible (without authority), if SOVEREIGN_ALLOW_COMPATIBLE=1 allows it",
      "sovereign",
    )
    .action(async (file: string | undefined, flags: RunFlags) => {
      const goal = goalOf(program, run, file, flags);
      if (goal !== null) {
        const ended = await services.runGoal({ ...inputOf(flags), ...goal });
        context.exit = report(output, ended, `run resume --tenant ${tenant()}`);
        return;
      }
      if (file === undefined) return run.error("expected a pipeline's file, or --goal");
      const mode = flags.mode === "compatible" ? "compatible" : "sovereign";
      if (flags.mode !== mode)
        program.error(`--mode ${flags.mode}: expected sovereign or compatible`);
      const input = { ...inputOf(flags), mode, faults: flags.fault } as const;
      context.exit = report(output, await services.run(file, input));
    });

  withApprover(run.command("resume <run>"))
    .description("resume a run after its last completed stage")
    .option("--retry-failed", "try failed steps again, if the run has not ended", false)
    .option("--no-wait", "leave a goal that waits to a worker")
    .action(async (runId: string, flags: ResumeFlags) => {
      const { retryFailed, wait } = flags;
      if (!wait) {
        if (approversOf(flags).length > 0)
          return run.error("--no-wait is for a goal alone: nobody consents");
        await services.requeue(tenant(), runId, { priority: 0, retryFailed });
        if (output.json) output.printJson({ run: runId, status: "queued" });
        else output.print(oneLine`run: ${runId} queued`);
        return;
      }
      const input = { ...inputOf(flags), retryFailed };
      context.exit = report(output, await services.resume(runId, input));
    });

  addApprove(run, context, tenant);
  addRunLooks(run, context, tenant);
  addRunEnds(run, context, tenant);
}

function addApprove(
  run: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  withApprover(run.command("approve <run>"))
    .description("approve the action that a run waits for")
    .action(async (runId: string, flags: ApproverFlags) => {
      const [approver, ...others] = approversOf(flags);
      if (approver === undefined || others.length > 0) {
        return run.error("expected --approver once, with a role whose key is here");
      }
      const consent = await services.approve(tenant(), runId, approver);
      const { stepId, required, given, next } = consent;
      if (output.json) {
        const typed = forTenant(next, tenant());
        output.printJson({ run: runId, step: stepId, approver, required, given, next: typed });
        return;
      }
      output.print(
        oneLine`${approver} approved ${stepId}: ${given.length} of ${required} needed. Next: ${next}`,
      );
    });
}

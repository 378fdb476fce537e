import type { Command } from "commander";
import { type ApproverFlags, approversOf, withApprover } from "../approver.ts";
import { many } from "../arguments.ts";
import { exitOf, type Output } from "../output.ts";
import { addRunLooks } from "./runs.ts";
import { showProgress } from "../progress.ts";
import type { CommandContext } from "../context.ts";
import type { RunInput, RunReport } from "../../services/index.ts";

interface ResumeFlags extends ApproverFlags {
  retryFailed: boolean;
}

interface RunFlags extends ApproverFlags {
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

  withApprover(run.command("start <file>", { isDefault: true }))
    .description("run a pipeline file; `sovereign run FILE` is the same")
    .option(
      "--fault <role>",
      "make this role's agent lie, to test that it is found; repeatable",
      many,
      [],
    )
    .option(
      "--mode <mode>",
      "sovereign; or compatible (without authority), if config.yaml allows it",
      "sovereign",
    )
    .action(async (file: string, flags: RunFlags) => {
      const mode = flags.mode === "compatible" ? "compatible" : "sovereign";
      if (flags.mode !== mode)
        program.error(`--mode ${flags.mode}: expected sovereign or compatible`);
      const input = { ...inputOf(flags), mode, faults: flags.fault } as const;
      context.exit = report(output, await services.run(file, input));
    });

  withApprover(run.command("resume <run>"))
    .description("resume a run after its last completed stage")
    .option("--retry-failed", "try failed steps again, if the run has not ended", false)
    .action(async (runId: string, flags: ResumeFlags) => {
      const { retryFailed } = flags;
      const input = { ...inputOf(flags), retryFailed };
      context.exit = report(output, await services.resume(runId, input));
    });

  addApprove(run, context, tenant);
  addRunLooks(run, context, tenant);
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
        output.printJson({ run: runId, step: stepId, approver, required, given, next });
        return;
      }
      output.print(
        `${approver} approved ${stepId}: ${given.length} of ${required} needed. Next: ${next}`,
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
    if (status === "pending") for (const line of nextOf(result, next)) output.print(line);
  }
  return status === "completed" ? 0 : exitOf(code);
}

/** What a person types for a run that waits. */
function nextOf({ runId, code }: RunReport, resume: string): string[] {
  const after = `next: sovereign ${resume} ${runId}`;
  switch (code) {
    case "ERR_APPROVAL_REQUIRED":
      return [
        `next: sovereign run approve ${runId} --approver ROLE`,
        `then: sovereign ${resume} ${runId}`,
      ];
    case "ERR_REQUEST_BLOCKED":
      return [
        `next: sovereign answers create ${runId}`,
        `then: sovereign answers apply ${runId} answer_pack.json`,
      ];
    default:
      return [after];
  }
}

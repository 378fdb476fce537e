import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { showProgress } from "../progress.ts";
import { userName } from "../who.ts";
import { report } from "./run-report.ts";

const CANCEL_HELP = `
Whoever carries the run out ends its path within a second and seals the run as failed. Where nobody does, the
run is sealed from here after 10 seconds. To stop everything at once: sovereign scram.`;

/** `cancel <run>` and `retry <run>`, of runs of every kind. */
export function addRunEnds(parent: Command, context: CommandContext, tenant: () => string): void {
  const { services, output, signal } = context;
  const input = (): Parameters<typeof services.resume>[1] => ({
    tenantId: tenant(),
    approvers: [],
    signal,
    onProgress: showProgress(output),
  });
  parent
    .command("cancel <run>")
    .description("end a run that has not ended; the ledger says who did, and why")
    .option("--reason <text>", "why", "no longer wanted")
    .option("--by <name>", "who says so; without it, your user name on this machine")
    .addHelpText("after", CANCEL_HELP)
    .action(async (runId: string, { reason, by }: { reason: string; by?: string }) => {
      const cancelled = { by: by ?? userName(), reason };
      const ended = await services.cancelRun(runId, input(), cancelled);
      report(output, ended);
      context.exit = ended.code === "ERR_RUN_CANCELLED" ? 0 : 1;
    });
  parent
    .command("retry <run>")
    .description("go on with a run that waits, and try again what failed in it")
    .action(async (runId: string) => {
      const ended = await services.resume(runId, { ...input(), retryFailed: true });
      context.exit = report(output, ended, `run resume --tenant ${tenant()}`);
    });
}

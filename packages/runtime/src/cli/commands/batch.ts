import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { describeLease } from "../lease-text.ts";
import { describeSelfProof, isUnproved } from "../sentinel-text.ts";
import { exitOf, oneLine, noteWarnings } from "../output.ts";
import { showProgress } from "../progress.ts";

export function batchCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  program
    .command("batch")
    .description("run batches of commands in the sandbox, under the kill switch")
    .command("run <file>")
    .description("run a batch; exit 5 if the kill switch stopped it")
    .action(async (file: string) => {
      const { tenant: tenantId } = program.opts<{ tenant: string }>();
      const report = await services.runBatch(file, {
        tenantId,
        approvers: [],
        signal: context.signal,
        onProgress: showProgress(output),
      });
      context.exit =
        report.status === "BATCH_COMMITTED"
          ? 0
          : report.status === "SCRAM_ABORT"
            ? 5
            : exitOf(report.code);
      if (output.json) {
        output.printJson(report);
        return;
      }
      for (const { id, state, code } of report.actions) {
        output.print(oneLine`  ${state.padEnd(12)} ${id}${code === null ? "" : `  ${code}`}`);
      }
      output.print(oneLine`${report.status}  ${report.batchId}  ${report.runId}`);
      if (report.reason !== null) output.print(oneLine`reason: ${report.reason}`);
      output.print(oneLine`bundle: ${report.bundle}`);
      output.print(oneLine`trust root: ${report.trustRoot}`);
    });

  program
    .command("health")
    .description("show a monitor if work may run; exit 0 healthy, 5 halted, 1 unknown")
    .option("--watched", "also exit 5 if nobody reads the other machines' orders now")
    .action(async (flags: { watched?: boolean }) => {
      const health = await services.health();
      const exits = { HEALTHY: 0, HALTED: 5, UNAVAILABLE: 1 } as const;
      context.exit = exits[health.runner_status];
      if (flags.watched === true && health.lease?.state === "unwatched") context.exit = 5;
      if (context.exit === 0 && isUnproved(health.self_proof)) context.exit = 1;
      const warnings = await services.dataWarnings();
      const memory = services.unboundedMemory();
      if (output.json) {
        output.printJson({ ...health, unbounded_memory: memory, warnings });
        return;
      }
      noteWarnings(output, warnings);
      const why = health.reason === null ? "" : `  ${health.reason}`;
      output.print(oneLine`${health.runner_status}  scram ${health.scram_state}${why}`);
      if (health.self_proof)
        output.print(oneLine`self-proof: ${describeSelfProof(health.self_proof)}`);
      if (health.lease !== null) output.print(oneLine`lease: ${describeLease(health.lease)}`);
      if (memory !== null) output.print(oneLine`memory: ${memory}`);
    });
}

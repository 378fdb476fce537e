import type { Command } from "commander";
import type { SandboxCheck } from "../../sandbox/index.ts";
import type { CommandContext } from "../context.ts";
import type { DoctorReport } from "../../services/index.ts";
import { oneLine, noteWarnings, type Output } from "../output.ts";

export function doctorCommand(program: Command, context: CommandContext): void {
  const { services, output } = context;
  program
    .command("doctor")
    .description("try the sandbox; say what works, what is missing and how to install it")
    .option(
      "--measure",
      "measure how many paths a stop kills in time, hostile ones too; takes minutes",
    )
    .action(async ({ measure = false }: { measure?: boolean }) => {
      const report = await services.probeSandbox(measure, (text) => {
        output.note(text);
      });
      const unsafe = report.minimum_level === "G0";
      context.exit = report.level === null ? 1 : 0;
      const warnings = await services.dataWarnings();
      if (output.json) {
        output.printJson({ ...report, warnings });
        return;
      }
      noteWarnings(output, warnings);
      const without = unsafe ? "none: work runs without a sandbox" : "none: nothing will run";
      output.print(oneLine`sandbox level: ${report.level ?? without}`);
      if (unsafe) output.print("DEGRADED: scram.minimum_level is G0, which asks for no sandbox");
      printChecks(output, report.checks);
      const { container } = report;
      output.print(oneLine`container back end: ${container.level ?? "not usable"}`);
      printChecks(output, container.checks);
      for (const { name, version, used, detail } of report.programs) {
        const found = version === null ? name : `${name} ${version}`;
        output.print(oneLine`  ${used ? "used   " : "unused "}  ${found}: ${detail}`);
      }
      printCapacity(output, report);
    });

  program
    .command("status")
    .description("show the data folder, the database, and if work may run; exits as health does")
    .action(async () => {
      const status = await services.status();
      const { runner_status, reason } = await services.health();
      const memory = services.unboundedMemory();
      context.exit = { HEALTHY: 0, HALTED: 5, UNAVAILABLE: 1 }[runner_status];
      if (output.json) {
        output.printJson({ ...status, runner_status, reason, unbounded_memory: memory });
        return;
      }
      output.print(oneLine`data folder:  ${status.home}`);
      output.print(oneLine`database:     ${status.database}`);
      output.print(oneLine`installation: ${status.installation}`);
      output.print(oneLine`kill switch:  ${status.scram}${reason === null ? "" : `: ${reason}`}`);
      if (memory !== null) output.print(oneLine`memory:       ${memory}`);
    });
}

function printCapacity(output: Output, { level, capacity, unmeasured }: DoctorReport): void {
  if (level === null) return;
  if (unmeasured !== null)
    output.print(oneLine`not measured: ${unmeasured} Try again when it is less busy.`);
  if (capacity === null) {
    output.print("path capacity: assumed; to measure it type: sovereign doctor --measure");
    return;
  }
  const { paths, path_ms } = capacity;
  output.print(oneLine`path capacity: ${paths} at once (${path_ms} ms to kill each), others wait`);
}

function printChecks(output: Output, checks: readonly SandboxCheck[]): void {
  for (const { name, ok, detail, advice } of checks) {
    output.print(oneLine`  ${ok ? "ok     " : "missing"}  ${name}: ${detail}`);
    if (advice !== null) output.print(oneLine`           ${advice}`);
  }
}

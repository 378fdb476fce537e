import type { Command } from "commander";
import type { SandboxCheck } from "../../sandbox/index.ts";
import type { CommandContext } from "../context.ts";
import { noteWarnings, type Output } from "../output.ts";

export function doctorCommand(program: Command, context: CommandContext): void {
  const { services, output } = context;
  program
    .command("doctor")
    .description("try the sandbox and a stop; say what holds, what is missing, and how to have it")
    .action(async () => {
      const report = await services.probeSandbox();
      const unsafe = report.minimum_level === "G0";
      context.exit = report.level === null ? 1 : 0;
      const warnings = await services.dataWarnings();
      if (output.json) {
        output.printJson({ ...report, warnings });
        return;
      }
      noteWarnings(output, warnings);
      const without = unsafe ? "none: work runs without a sandbox" : "none: nothing will run";
      output.print(`sandbox level: ${report.level ?? without}`);
      if (unsafe) output.print("DEGRADED: scram.minimum_level is G0, which asks for no sandbox");
      printChecks(output, report.checks);
      const { container } = report;
      output.print(`container back end: ${container.level ?? "not usable"}`);
      printChecks(output, container.checks);
      for (const { name, version, used, detail } of report.programs) {
        const found = version === null ? name : `${name} ${version}`;
        output.print(`  ${used ? "used   " : "unused "}  ${found}: ${detail}`);
      }
      if (report.capacity !== null) {
        const { paths, path_ms } = report.capacity;
        output.print(`path capacity: ${paths} at once (${path_ms} ms to kill each), others wait`);
      }
    });

  program
    .command("status")
    .description("which data folder and database are used, and whether work may run")
    .action(async () => {
      const status = await services.status();
      if (output.json) {
        output.printJson(status);
        return;
      }
      output.print(`data folder:  ${status.home}`);
      output.print(`database:     ${status.database}`);
      output.print(`installation: ${status.installation}`);
      output.print(`kill switch:  ${status.scram}`);
    });
}

function printChecks(output: Output, checks: readonly SandboxCheck[]): void {
  for (const { name, ok, detail, advice } of checks) {
    output.print(`  ${ok ? "ok     " : "missing"}  ${name}: ${detail}`);
    if (advice !== null) output.print(`           ${advice}`);
  }
}

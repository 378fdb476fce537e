import type { Command } from "commander";
import type { CommandContext } from "../context.ts";

export function doctorCommand(program: Command, context: CommandContext): void {
  const { services, output } = context;
  program
    .command("doctor")
    .description("try the sandbox, and say which level is really in force")
    .action(async () => {
      const report = await services.probeSandbox();
      context.exit = report.level === null ? 1 : 0;
      if (output.json) {
        output.printJson(report);
        return;
      }
      output.print(`sandbox level: ${report.level ?? "none: nothing will run"}`);
      for (const { name, ok, detail } of report.checks) {
        output.print(`  ${ok ? "ok     " : "missing"}  ${name}: ${detail}`);
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

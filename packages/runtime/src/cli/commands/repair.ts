import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { table } from "../output.ts";

export function repairCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  program
    .command("repair")
    .description("repair what a command reports as damaged, without losing evidence")
    .command("ledger")
    .description("check every log; set aside what is not evidence, and record it")
    .option(
      "--accept-rollback",
      "accept a database that holds less than was signed; the missing entries are lost",
    )
    .action(async (flags: { acceptRollback?: boolean }) => {
      const findings = await services.repairLedger(flags.acceptRollback === true);
      const left = findings.filter(({ kind, done }) => done === "left" && kind !== "time");
      context.exit = left.length > 0 ? 4 : 0;
      if (output.json) {
        output.printJson({ findings });
        return;
      }
      if (findings.length === 0) {
        output.print("the ledger is whole: every entry, signed head and head file agrees");
        return;
      }
      const rows = findings.map((one) => [
        one.log,
        one.kind,
        String(one.place),
        one.done,
        one.found,
      ]);
      output.print(table([["LOG", "WHAT", "PLACE", "DONE", "FOUND"], ...rows]));
      if (left.length > 0) {
        output.note(
          "A head file says that more was signed than the database holds. Restore the database that belongs to it; or, where that is lost, type: sovereign repair ledger --accept-rollback",
        );
      }
    });
}

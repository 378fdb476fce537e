import type { Command } from "commander";
import type { LedgerFinding } from "../../store/index.ts";
import type { CommandContext } from "../context.ts";
import { table } from "../output.ts";

export function repairCommands(program: Command, context: CommandContext): void {
  const { services } = context;
  const repair = program
    .command("repair")
    .description("repair what a command reports as damaged, without losing evidence");
  repair
    .command("ledger")
    .description("check every log; set aside what is not evidence, and record it")
    .option(
      "--accept-rollback",
      "accept a database that holds less than was signed; the missing entries are lost",
    )
    .action(async (flags: { acceptRollback?: boolean }) => {
      const findings = await services.repairLedger(flags.acceptRollback === true);
      tell(context, findings, {
        whole: "the ledger is whole: every entry, signed head and head file agrees",
        left: "A head file says that more was signed than the database holds. Restore the database that belongs to it; or, where that is lost, type: sovereign repair ledger --accept-rollback",
      });
    });
  repair
    .command("registry")
    .description("take back switches of models that ended runs did not record, and record it")
    .action(async () => {
      const { tenant } = program.opts<{ tenant: string }>();
      tell(context, await services.repairRegistry(tenant), {
        whole: "the model registry holds no switch that an ended run did not record",
        left: "A run that goes on made one of these switches. Go on with it, or cancel it: sovereign run list",
      });
    });
}

function tell(
  context: CommandContext,
  findings: readonly LedgerFinding[],
  words: { readonly whole: string; readonly left: string },
): void {
  const { output } = context;
  const left = findings.filter(({ kind, done }) => done === "left" && kind !== "time");
  context.exit = left.length > 0 ? 4 : 0;
  if (output.json) {
    output.printJson({ findings: [...findings] });
    return;
  }
  if (findings.length === 0) {
    output.print(words.whole);
    return;
  }
  const rows = findings.map((one) => [one.log, one.kind, String(one.place), one.done, one.found]);
  output.print(table([["LOG", "WHAT", "PLACE", "DONE", "FOUND"], ...rows]));
  if (left.length > 0) output.note(words.left);
}

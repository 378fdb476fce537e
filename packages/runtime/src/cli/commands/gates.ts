import { GATES } from "@sovereign/core";
import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";

export function gatesCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const gates = program.command("gates").description("check a run by its evidence");

  gates
    .command("list")
    .description("list every gate")
    .action(() => {
      if (output.json)
        for (const { id, title, asks } of GATES) output.printJson({ id, title, asks });
      else output.print(table([["GATE", "TITLE"], ...GATES.map(({ id, title }) => [id, title])]));
    });

  gates
    .command("explain <gate>")
    .description("show what a gate checks, and which documents it reads")
    .action((id: string) => {
      const gate = GATES.find((one) => one.id.toLowerCase() === id.toLowerCase());
      if (gate === undefined) program.error(`no gate ${id}: try sovereign gates list`);
      const { title, asks, reads } = gate;
      if (output.json) output.printJson({ id: gate.id, title, asks, reads });
      else
        output.print(
          oneLine`${gate.id}: ${title}\n${asks}\nreads: ${reads.join(", ")}, the ledger`,
        );
    });

  gates
    .command("run <run>")
    .description("check a run again, from its folder and the ledger; exit 4 if a gate fails")
    .action(async (runId: string) => {
      const receipt = await services.judgeRun(tenant(), runId);
      if (output.json) output.printJson(receipt);
      else {
        const rows = receipt.results.map((one) => [one.gate, one.verdict, one.message]);
        output.print(table([["GATE", "VERDICT", "FOUND"], ...rows]));
        output.print(receipt.status);
      }
      context.exit = receipt.status === "PASS" ? 0 : 4;
    });
}

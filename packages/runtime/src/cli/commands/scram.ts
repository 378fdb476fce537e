import type { Command } from "commander";
import type { ScramStatus } from "../../scram/index.ts";
import type { CommandContext } from "../context.ts";

const RESET =
  "This version has no reset order yet: when it is safe, and both of you agree, remove the latch file.";

export function scramCommands(program: Command, context: CommandContext): void {
  const { services } = context;
  const scram = program
    .command("scram")
    .description("the kill switch (first cut: a durable latch)");

  scram
    .command("status")
    .description("armed or tripped; exit 5 when tripped")
    .action(() => {
      show(services.scramStatus(), context);
    });

  scram
    .command("trip")
    .description("stop: running work is killed, and nothing starts any more")
    .requiredOption("--reason <text>", "why")
    .action((flags: { reason: string }) => {
      show(services.scramTrip(flags.reason), context);
      context.exit = 0;
    });
}

function show(status: ScramStatus, context: CommandContext): void {
  const { output } = context;
  context.exit = status.state === "ARMED" ? 0 : 5;
  if (output.json) output.printJson(status);
  else if (status.state === "ARMED") output.print("ARMED");
  else {
    output.print(
      `TRIPPED${status.record === null ? "" : ` at ${status.record.tripped_at}: ${status.record.reason}`}`,
    );
    output.print(`latch: ${status.latch}`);
    output.note(RESET);
  }
}

import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { table } from "../output.ts";

const HELP = `
Five failures in a row open the breaker of a skill and a host. For 60 seconds nobody of the tenant calls that
host by that skill. Then three calls may try (half_open): if all do well it closes, and one failure opens it.`;

/** Which hosts are left alone. */
export function breakersCommands(program: Command, { services, output }: CommandContext): void {
  program
    .command("breakers")
    .description("see which hosts are left alone because they failed")
    .command("list")
    .description("list a tenant's circuit breakers, those that are not closed first")
    .addHelpText("after", HELP)
    .action(async () => {
      const found = await services.listBreakers(program.opts<{ tenant: string }>().tenant);
      if (output.json) {
        for (const one of found) output.printJson(one);
        return;
      }
      const rows = found.map(({ state, skill, host, failures, changed_at: at }) => [
        state,
        skill,
        host,
        String(failures),
        at,
      ]);
      output.print(table([["STATE", "SKILL", "HOST", "FAILURES", "SINCE"], ...rows]));
    });
}

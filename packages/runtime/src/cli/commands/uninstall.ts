import { printable } from "@sovereign/core";
import type { Command } from "commander";
import type { Services } from "../../services/index.ts";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";

type Part = Awaited<ReturnType<Services["uninstall"]>>["parts"][number];

const HELP = `
Without --yes nothing is removed. It is refused while runs or the sentinel live, and while a stop is
in force. It removes only what Sovereign made, and follows no link.
Private keys cannot be brought back. Evidence that was exported stays valid with the trust root:
export both first, with \`sovereign bundle export\` and \`sovereign keys export-trust\`.`;

export function uninstallCommand(program: Command, { services, output }: CommandContext): void {
  program
    .command("uninstall")
    .description("list what the installation has on this machine, or remove it")
    .option("--yes", "remove it")
    .addHelpText("after", HELP)
    .action(async ({ yes = false }: { yes?: boolean }) => {
      const report = await services.uninstall(yes);
      if (output.json) {
        output.printJson(report);
        return;
      }
      const { home, installation, removed, parts, stays, blocked } = report;
      output.print(oneLine`installation: ${installation} in ${printable(home)}`);
      output.print(table([[removed ? "REMOVED" : "TO REMOVE", "PATH"], ...parts.map(rowOf)]));
      if (stays.length > 0) output.print(table([["STAYS", "PATH"], ...stays.map(rowOf)]));
      if (removed) return;
      output.print("keys: removed for ever. Nobody can sign for this installation again.");
      output.print(
        "evidence: what was exported stays valid with the trust root. Export both first: sovereign bundle export, sovereign keys export-trust",
      );
      if (blocked !== null) output.print(oneLine`not now: ${blocked}`);
      else output.print("next: sovereign uninstall --yes");
    });
}

function rowOf({ what, path, leadsTo }: Part): string[] {
  const leads = leadsTo === null ? "" : ` (a link; ${printable(leadsTo)} stays)`;
  return [what, `${printable(path)}${leads}`];
}

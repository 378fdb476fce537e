import type { Command } from "commander";
import { parseName } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { writingNamed } from "../../system/index.ts";
import { oneLine } from "../output.ts";

export function tenantsCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  program
    .command("tenants")
    .description("give a program one tenant of a shared database")
    .command("claim <name>")
    .description("write the secret that lets a program read and write one tenant's log")
    .requiredOption("--out <file>", "the new file to write, mode 0600; it must not exist")
    .option("--replace", "make a new secret; the former one is refused from then on")
    .action(async (name: string, flags: { out: string; replace?: boolean }) => {
      const tenant = parseName(name);
      const options = { mode: 0o600, fresh: true };
      const write = async (file: { write(text: string): void }): Promise<void> => {
        const claim = await services.tenantClaim(tenant, flags.replace === true);
        file.write(`${JSON.stringify(claim, null, 2)}\n`);
      };
      await writingNamed(flags.out, write, options);
      if (output.json) output.printJson({ tenant, file: flags.out });
      else
        output.note(
          oneLine`the claim of ${tenant}: ${flags.out}. Whoever has it acts as that tenant.`,
        );
    });
}

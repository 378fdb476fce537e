import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";

interface SetFlags {
  readonly host: readonly string[];
  readonly file?: string;
}

/** Secrets of a tenant, which steps of plans refer to by their names. */
export function secretsCommands(program: Command, { services, output }: CommandContext): void {
  const secrets = program
    .command("secrets")
    .description("set, list and remove the secrets that plans of a tenant refer to");
  const tenantId = (): string => program.opts<{ tenant: string }>().tenant;
  secrets
    .command("set <name>")
    .description("set a secret; its value comes from standard input or a file")
    .requiredOption("--host <host>", "a host to which it may be sent; repeatable", collected, [])
    .option("--file <file>", "the file that holds the value; standard input without it")
    .action(async (name: string, { host: hosts, file = "/dev/stdin" }: SetFlags) => {
      const secret = await services.setSecret({ tenantId: tenantId(), name, hosts, file });
      if (output.json) output.printJson(secret);
      else
        output.note(
          oneLine`${name} of ${tenantId()}, for ${secret.hosts.join(", ")}: ${kept(secret)}`,
        );
    });
  secrets
    .command("list")
    .description("list the secrets of the tenant; prints no value")
    .action(async () => {
      const found = await services.listSecrets(tenantId());
      if (output.json) {
        output.printJson({ secrets: found });
        return;
      }
      if (found.length === 0) {
        output.note("no secret is set. Begin with: sovereign secrets set NAME --host HOST");
        return;
      }
      output.print(table(found.map((one) => [one.name, one.hosts.join(" "), kept(one)])));
    });
  secrets
    .command("remove <name>")
    .description("remove a secret")
    .action(async (name: string) => {
      await services.removeSecret(tenantId(), name);
      if (output.json) output.printJson({ removed: name });
      else output.note(oneLine`${name} is removed. Revoke it where it was issued, too.`);
    });
}

function collected(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}

function kept({ protection }: { readonly protection: string }): string {
  return `kept: ${protection === "none" ? "by file mode alone" : protection}`;
}

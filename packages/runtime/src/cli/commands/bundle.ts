import { closeSync, openSync, renameSync, writeSync } from "node:fs";
import { writeBundleZip } from "@sovereign/verify";
import type { Command } from "commander";
import { writeNamed } from "../arguments.ts";
import type { CommandContext } from "../context.ts";

export function bundleCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const bundle = program.command("bundle").description("evidence for auditors");

  bundle
    .command("export <run>")
    .description("write the compliance bundle of a run; the same bytes each time")
    .option("--out <file>", "a .json or .zip file", "compliance_bundle.json")
    .option("--with-artifacts", "put the artifacts' bytes in as well", false)
    .action(async (runId: string, flags: { out: string; withArtifacts: boolean }) => {
      const bytes = await services.exportBundle(tenant(), runId, flags.withArtifacts);
      const written = flags.out.endsWith(".zip") ? writeBundleZip(bytes) : bytes;
      // Written beside and renamed: nobody finds half a bundle.
      writeNamed(`${flags.out}.partial`, written, { flush: true });
      renameSync(`${flags.out}.partial`, flags.out);
      if (output.json) output.printJson({ bundle: flags.out, bytes: written.length });
      else output.print(`bundle: ${flags.out}`);
    });

  program
    .command("audit")
    .description("the ledger itself")
    .command("export")
    .description("write a log as immutable_audit.jsonl, one entry a line")
    .option("--log <name>", "a tenant's name, or installation")
    .option("--out <file>", "where to", "immutable_audit.jsonl")
    .action(async (flags: { log?: string; out: string }) => {
      const file = openSync(`${flags.out}.partial`, "w", 0o600);
      const count = await services.exportAudit(flags.log ?? tenant(), (line) => {
        writeSync(file, line);
      });
      closeSync(file);
      renameSync(`${flags.out}.partial`, flags.out);
      if (output.json) output.printJson({ file: flags.out, entries: count });
      else output.print(`${count} entries: ${flags.out}`);
    });
}

import { writeBundleZip } from "@sovereign/verify";
import type { Command } from "commander";
import { parseName } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { writingNamed } from "../../system/index.ts";
import { oneLine } from "../output.ts";

const ARCHIVES = "archives in which entries are that left the database";

interface BundleFlags {
  readonly out: string;
  readonly withArtifacts: boolean;
  readonly archive?: string[];
}

export function bundleCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const bundle = program.command("bundle").description("export evidence for auditors");

  bundle
    .command("export <run>")
    .description("write the compliance bundle of a run; a run always gives the same bytes")
    .option("--out <file>", "the file to write, .json or .zip", "compliance_bundle.json")
    .option("--with-artifacts", "include the artifacts' bytes", false)
    .option("--archive <file...>", ARCHIVES)
    .action(async (runId: string, flags: BundleFlags) => {
      const size = await writingNamed(
        flags.out,
        async (file) => {
          const bytes = await services.exportBundle(
            tenant(),
            runId,
            flags.withArtifacts,
            flags.archive,
          );
          const written = flags.out.endsWith(".zip") ? writeBundleZip(bytes) : bytes;
          file.write(written);
          return written.length;
        },
        { endings: [".json", ".zip"] },
      );
      if (output.json) output.printJson({ bundle: flags.out, bytes: size });
      else output.print(oneLine`bundle: ${flags.out}`);
    });

  program
    .command("audit")
    .description("export a log of the ledger")
    .command("export")
    .description("write a log as immutable_audit.jsonl, one entry per line")
    .option("--log <name>", "a tenant's name, or `installation`", parseName)
    .option("--out <file>", "the file to write", "immutable_audit.jsonl")
    .option("--archive <file...>", ARCHIVES)
    .action(async (flags: { log?: string; out: string; archive?: string[] }) => {
      const count = await writingNamed(
        flags.out,
        (file) =>
          services.exportAudit(
            flags.log ?? tenant(),
            (line) => {
              file.write(line);
            },
            flags.archive,
          ),
        { mode: 0o600 },
      );
      if (output.json) output.printJson({ file: flags.out, entries: count });
      else output.print(oneLine`${count} entries: ${flags.out}`);
    });
}

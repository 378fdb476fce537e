import { writeBundleZip } from "@sovereign/verify";
import type { Command } from "commander";
import { parseName } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { type NamedFile, writingNamed } from "../../system/index.ts";
import { oneLine } from "../output.ts";

const ARCHIVES = "archives in which entries are that left the database";

const AUDIT_HELP = `
Beside the log stands its signed head, FILE.checkpoint. With it, and with the trust root, the log is VALID:
  sovereign verify-audit FILE --checkpoint FILE.checkpoint --trust trust-root.json`;

interface AuditFlags {
  readonly log?: string;
  readonly out: string;
  readonly checkpoint: boolean;
  readonly archive?: string[];
}

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
    .option("--out <file>", "the new file to write; it must not exist", "immutable_audit.jsonl")
    .option("--no-checkpoint", "sign no head of the log, where its key is not here")
    .option("--archive <file...>", ARCHIVES)
    .addHelpText("after", AUDIT_HELP)
    .action(async (flags: AuditFlags) => {
      const checkpoint = checkpointOf(flags);
      const entries = await exportLog(context, flags.log ?? tenant(), checkpoint, flags);
      if (output.json) {
        output.printJson({ file: flags.out, entries, checkpoint });
        return;
      }
      output.print(oneLine`${entries} entries: ${flags.out}`);
      if (checkpoint === null) return;
      output.print(oneLine`signed head: ${checkpoint}`);
      output.note(
        oneLine`next: sovereign verify-audit ${flags.out} --checkpoint ${checkpoint} --trust trust-root.json`,
      );
    });
}

/** Beside the log; null where nothing has a place beside it. */
function checkpointOf({ out, checkpoint }: AuditFlags): string | null {
  return checkpoint && !out.startsWith("/dev/") ? `${out}.checkpoint` : null;
}

/** The log and its signed head, both or neither. @returns the number of entries */
function exportLog(
  { services }: CommandContext,
  log: string,
  checkpoint: string | null,
  { out, archive }: AuditFlags,
): Promise<number> {
  const fresh = { mode: 0o600, fresh: true };
  return writingNamed(
    out,
    async (file) => {
      const exported = (signs: boolean) =>
        services.exportAudit(
          log,
          (line) => {
            file.write(line);
          },
          signs,
          archive,
        );
      if (checkpoint === null) return (await exported(false)).entries;
      const signed = async (head: NamedFile): Promise<number> => {
        const { entries, note } = await exported(true);
        head.write(note ?? "");
        return entries;
      };
      return writingNamed(checkpoint, signed, fresh);
    },
    fresh,
  );
}

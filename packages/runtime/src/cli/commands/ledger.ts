import type { Command } from "commander";
import type { ArchiveProgress, RecordedReport } from "../../services/index.ts";
import { parseInstant } from "../arguments.ts";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";
import { tellAtTimes } from "../progress.ts";

const ARCHIVE_HELP = `
Archived are runs that were sealed before the date: their entries, whole, and what was signed for them. Runs
at work, runs with an incident that is not resolved, and the installation's own log stay. The file is written,
made durable, read back and compared, and recorded under a signed head. Then the bytes leave the database.
The rows stay, so heads, proofs and streams go on as before. If the command is killed, type it again with the
same file: it goes on. Keep the file: what left is in it alone. A backup does not hold it.
Exit codes: 0 done, or nothing is as old; 1 failed; 2 usage; 4 the ledger or the file is damaged.`;
const VERIFY_HELP = `
It needs no installation and no network. --trust is a file of \`sovereign keys export-trust\` that came by
another way. Without it the verdict is at best UNTRUSTED_KEY: nothing was changed since somebody signed it.
Exit codes: 0 VALID, 4 UNTRUSTED_KEY, or damaged with the place.
\`tar xf FILE && sha256sum -c SHA256SUMS\` checks the parts without Sovereign.`;
const RESTORE_HELP = `
Each byte is compared with the hash that stayed in the database. If the command is killed, type it again.`;
interface ArchiveFlags {
  readonly before: string;
  readonly out: string;
}

/** Old entries of the ledger, and the files that they are kept in. */
export function ledgerCommands(program: Command, context: CommandContext): void {
  const tenant = (): string => program.opts<{ tenant: string }>().tenant;
  const ledger = program
    .command("ledger")
    .description("move old entries of the ledger into files, and read them there");
  addArchive(ledger, context, tenant);
  addList(ledger, context, tenant);
  addVerify(ledger, context);
  addRestore(ledger, context);
}

function addArchive(ledger: Command, context: CommandContext, tenant: () => string): void {
  const { services, output } = context;
  ledger
    .command("archive")
    .description("move a tenant's old runs out of the database into a file")
    .requiredOption("--before <date>", "runs sealed before it, such as 2026-01-31", parseInstant)
    .requiredOption("--out <file>", "the new file, mode 0600; or one to go on with")
    .addHelpText("after", ARCHIVE_HELP)
    .action(async ({ before, out }: ArchiveFlags) => {
      const onProgress = tellAtTimes(output, textOf);
      const input = { tenantId: tenant(), before, out, onProgress };
      const report = await services.archiveLedger(input);
      if (output.json) {
        output.printJson(report ?? { tenant: tenant(), before, runs: 0, entries: 0, taken: 0 });
        return;
      }
      if (report === null) {
        output.print(
          oneLine`nothing to archive: no run of ${tenant()} was sealed before ${before}`,
        );
        return;
      }
      const { runs, entries, bytes, digest, taken, left, damaged } = report;
      output.print(oneLine`archive: ${out}`);
      output.print(oneLine`${runs} runs, ${entries} entries: ${bytes} bytes, sha256 ${digest}`);
      output.print(oneLine`left the database: ${taken} entries`);
      if (left > 0) {
        output.note(
          oneLine`${left} runs more are as old. Type the command again with another --out.`,
        );
      }
      if (damaged > 0) {
        output.note(
          oneLine`${damaged} runs stay, because their entries are no whole chain. Look into it: sovereign repair ledger`,
        );
      }
      output.note(oneLine`next: sovereign ledger verify-archive ${out} --trust trust-root.json`);
    });
}

function addList(
  ledger: Command,
  { services, output }: CommandContext,
  tenant: () => string,
): void {
  ledger
    .command("archives")
    .description("list the archives that the ledger recorded of a tenant")
    .action(async () => {
      const archives = await services.listArchives(tenant());
      if (output.json) {
        output.printJson({ archives });
        return;
      }
      if (archives.length === 0) {
        output.print(oneLine`no archives of ${tenant()}`);
        return;
      }
      const head = [
        "SHA-256",
        "RECORDED",
        "BEFORE",
        "RUNS",
        "ENTRIES",
        "FROM",
        "TO",
        "IN DATABASE",
      ];
      output.print(table([head, ...archives.map(rowOf)]));
    });
}

function rowOf(one: RecordedReport): string[] {
  const { digest, at, before, runs, entries, firstIndex, lastIndex, inDatabase } = one;
  return [digest, at, before, ...[runs, entries, firstIndex, lastIndex, inDatabase].map(String)];
}

function addVerify(ledger: Command, context: CommandContext): void {
  const { services, output } = context;
  ledger
    .command("verify-archive <file>")
    .description("look at every byte of an archive, offline")
    .option("--trust <file>", "the trust root of the installation")
    .addHelpText("after", VERIFY_HELP)
    .action(async (file: string, { trust }: { trust?: string }) => {
      const report = await services.verifyArchive(file, {
        trustFile: trust ?? null,
        onProgress: tellAtTimes(output, textOf),
      });
      context.exit = report.verdict === "VALID" ? 0 : 4;
      if (output.json) {
        output.printJson(report);
        return;
      }
      const { verdict, installation, tenant, madeAt, runs, entries, digest, signer } = report;
      output.print(oneLine`${verdict}: ${tenant} of ${installation}, made at ${madeAt}`);
      output.print(oneLine`${runs} runs, ${entries} entries, sha256 ${digest}`);
      output.print(oneLine`under a signed head of ${report.checkpointSize} entries`);
      output.print(oneLine`signed by: ${signer}`);
      if (verdict !== "VALID") output.note("Nobody says whose key that is. Give --trust.");
    });
}

function addRestore(ledger: Command, { services, output }: CommandContext): void {
  ledger
    .command("restore <file>")
    .description("put the entries of an archive back into the database")
    .addHelpText("after", RESTORE_HELP)
    .action(async (file: string) => {
      const report = await services.restoreArchive(file, tellAtTimes(output, textOf));
      if (output.json) {
        output.printJson(report);
        return;
      }
      const { tenant, putBack, entries } = report;
      output.print(oneLine`put back: ${putBack} of ${entries} entries of ${tenant}`);
      if (putBack < entries) output.note("The rest was in the database already.");
    });
}

function textOf(progress: ArchiveProgress): string {
  switch (progress.event) {
    case "archive.written":
      return oneLine`  written: ${progress.entries} entries`;
    case "archive.read":
      return oneLine`  read: ${progress.entries} entries`;
    case "archive.step":
      return oneLine`  ${progress.step}`;
    case "archive.taken":
      return oneLine`  left the database: ${progress.entries} of ${progress.of} entries`;
    case "archive.put_back":
      return oneLine`  put back: ${progress.entries} of ${progress.of} entries`;
  }
}

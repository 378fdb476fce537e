import type { Command } from "commander";
import { writingNamed } from "../../system/index.ts";
import type { CommandContext } from "../context.ts";
import { tellAtTimes } from "../progress.ts";
import type { BackupProgress } from "../../services/index.ts";
import { oneLine } from "../output.ts";

const CREATE_HELP = `
The backup has the database with the logs and rows of all tenants, keys, settings, policies, runs and
their artifacts, the model registry, signed heads, and the kill switch's journal. Work goes on meanwhile.
Keys, vendors' keys, settings and the database's own secret are encrypted under the passphrase in
--passphrase-file. The rest is readable by whoever has the file. Without the passphrase nothing is restored.`;
const VERIFY_HELP = `
It needs no installation and no network. --trust is a file of \`sovereign keys export-trust\` that came by
another way. Without it and without --passphrase-file the verdict is at best UNTRUSTED_KEY: nothing was
changed since somebody signed it. Exit codes: 0 VALID, 4 UNTRUSTED_KEY, or damaged with the place.
\`tar xf FILE && sha256sum -c SHA256SUMS\` checks the parts without Sovereign.`;
const RESTORE_HELP = `
SOVEREIGN_HOME must name a folder that is empty or not there. With DATABASE_URL the database goes into that
server, which must hold none. What is restored is stopped until two people reset it, because nobody knows what
was stopped after the backup was made, nor whether the installation still works elsewhere.`;
const PASSPHRASE = "a file with the backup's passphrase, of 8 bytes or more";
interface Flags {
  readonly out: string;
  readonly passphraseFile: string;
  readonly trust?: string;
}

/** Copies of an installation that can be verified anywhere, and made an installation again. */
export function backupCommands(program: Command, context: CommandContext): void {
  const backup = program
    .command("backup")
    .description("make, verify and restore backups of the whole installation");
  addCreate(backup, context);
  addVerify(backup, context);
  addRestore(backup, context);
}

function addCreate(backup: Command, { services, output }: CommandContext): void {
  backup
    .command("create")
    .description("write a backup of everything, signed, with secrets encrypted")
    .requiredOption("--out <file>", "the new file to write, mode 0600; it must not exist")
    .requiredOption("--passphrase-file <file>", PASSPHRASE)
    .addHelpText("after", CREATE_HELP)
    .action(async ({ out, passphraseFile }: Flags) => {
      const onProgress = tellAtTimes(output, textOf);
      const report = await writingNamed(
        out,
        (file) =>
          services.createBackup({
            passphraseFile,
            onProgress,
            write: (bytes) => {
              file.write(bytes);
            },
          }),
        { mode: 0o600, fresh: true },
      );
      if (output.json) {
        output.printJson({ file: out, ...report });
        return;
      }
      const { entries, logs, rows, files, bytes, leftOut, sums } = report;
      output.print(oneLine`backup: ${out}`);
      output.print(
        oneLine`${entries} entries in ${logs} logs, ${rows} rows, ${files} files: ${bytes} bytes`,
      );
      output.print(oneLine`parts: sha256 ${sums}`);
      if (leftOut.length > 0) {
        const named = leftOut.slice(0, 5).join(", ");
        output.note(
          oneLine`left out, because they are no plain files of ours: ${leftOut.length} (${named})`,
        );
      }
      output.note(
        oneLine`next: sovereign backup verify ${out} --passphrase-file ${passphraseFile}`,
      );
    });
}

function addVerify(backup: Command, context: CommandContext): void {
  const { services, output } = context;
  backup
    .command("verify <file>")
    .description("look at every byte of a backup, offline")
    .option("--trust <file>", "the trust root of the installation")
    .option("--passphrase-file <file>", `${PASSPHRASE}: opens what is sealed, too`)
    .addHelpText("after", VERIFY_HELP)
    .action(async (path: string, { trust, passphraseFile }: Partial<Flags>) => {
      const report = await services.verifyBackup(path, {
        trustFile: trust ?? null,
        passphraseFile: passphraseFile ?? null,
        onProgress: tellAtTimes(output, textOf),
      });
      context.exit = report.verdict === "VALID" ? 0 : 4;
      if (output.json) {
        output.printJson(report);
        return;
      }
      const { verdict, installation, madeAt, entries, logs, rows, files, bytes, signer } = report;
      output.print(oneLine`${verdict}: ${installation}, made at ${madeAt}`);
      output.print(
        oneLine`${entries} entries in ${logs} logs, ${rows} rows, ${files} files: ${bytes} bytes`,
      );
      output.print(oneLine`signed by: ${signer}`);
      if (verdict === "VALID") output.print(oneLine`trusted by: ${report.trustedBy.join(" and ")}`);
      else output.note("Nobody says whose key that is. Give --trust, or --passphrase-file.");
    });
}

function addRestore(backup: Command, { services, output }: CommandContext): void {
  backup
    .command("restore <file>")
    .description("make an empty data folder that of a backup; it is stopped until a reset")
    .requiredOption("--passphrase-file <file>", PASSPHRASE)
    .option("--trust <file>", "the trust root of the installation")
    .addHelpText("after", RESTORE_HELP)
    .action(async (path: string, { trust, passphraseFile }: Flags) => {
      const report = await services.restoreBackup(path, {
        trustFile: trust ?? null,
        passphraseFile,
        onProgress: tellAtTimes(output, textOf),
      });
      if (output.json) {
        output.printJson(report);
        return;
      }
      const { installation, home, database, madeAt, rows, files, eventId } = report;
      output.print(oneLine`restored: ${installation} as of ${madeAt}, in ${home}`);
      output.print(oneLine`database: ${database}`);
      output.print(oneLine`${rows} rows, ${files} files`);
      output.print(
        oneLine`stopped: ${eventId}. Nothing runs until two people have looked, and type:`,
      );
      output.print(
        '  sovereign scram reset --operator-key NAME --architect-key NAME --reason "restored"',
      );
      if (report.otherDatabase !== null) {
        output.note(
          oneLine`config.yaml names another database, at ${report.otherDatabase}: DATABASE_URL comes before it. Correct the file.`,
        );
      }
    });
}

function textOf(progress: BackupProgress): string {
  switch (progress.event) {
    case "backup.rows":
      return oneLine`  database: ${progress.rows} rows (${progress.table})`;
    case "backup.files":
      return oneLine`  files: ${progress.files}, ${progress.bytes} bytes`;
    case "backup.read":
      return oneLine`  read: ${progress.parts} parts, ${progress.bytes} bytes`;
  }
}

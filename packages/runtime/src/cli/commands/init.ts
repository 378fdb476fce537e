import { quoted } from "@sovereign/core";
import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";

interface InitFlags {
  dryRun?: boolean;
  force?: boolean;
}

export function initCommand(program: Command, { services, output }: CommandContext): void {
  program
    .command("init")
    .description("write a first policy into a repository: .sovereign/policy.yaml")
    .argument("[folder]", "a folder in the repository", ".")
    .option("--dry-run", "print the policy and write nothing")
    .option("--force", "replace a policy that is there")
    .action(async (folder: string, { dryRun = false, force = false }: InitFlags) => {
      const report = await services.initRepository(folder, { dryRun, force });
      if (output.json) {
        output.printJson(report);
        return;
      }
      const { found, commands, presets, policy, written, text } = report;
      if (!written) {
        output.print(text.trimEnd());
        output.note(
          oneLine`written: nothing. To write it to ${quoted(policy)} leave out --dry-run`,
        );
        return;
      }
      for (const { file, means } of found) output.print(oneLine`found: ${file}: ${means}`);
      output.print(oneLine`policy: ${quoted(policy)}`);
      output.print("allows: files of the repository, but for keys and for files that tools run");
      const rows = commands.map(({ executable, args }) => [executable, args.join(" ")]);
      if (rows.length > 0) output.print(table([["COMMAND", "ARGUMENTS"], ...rows]));
      if (presets.length > 0) output.print(oneLine`tools: ${presets.join(", ")}`);
      output.print("mode: observe. What it would deny is done, and recorded.");
      output.print(
        "to enforce it: write `mode: enforce` in the policy, type `sovereign policy trust`, and commit it",
      );
      const test = commands.find(({ args }) => args.includes("test"))?.executable;
      output.print(
        oneLine`next: sovereign exec run -- ${test === undefined ? "COMMAND" : `${test} test`}`,
      );
    });
}

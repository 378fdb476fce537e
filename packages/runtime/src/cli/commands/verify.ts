import { main as verifyMain } from "@sovereign/verify/cli";
import type { Command } from "commander";
import type { CommandContext } from "../context.ts";

/** The verifier is a program of its own; these pass their words on to it. */
export function verifyCommands(program: Command, context: CommandContext): void {
  const pass = (name: string, first: string[], description: string): void => {
    program
      .command(name)
      .description(description)
      .helpOption(false)
      .allowUnknownOption()
      .allowExcessArguments()
      .argument("[words...]", "see sovereign-verify --help")
      .action(async (_words: string[], _flags: unknown, command: Command) => {
        const json = context.output.json && !command.args.includes("--json") ? ["--json"] : [];
        context.exit = await verifyMain([...first, ...command.args, ...json]);
      });
  };
  pass("verify", [], "verify a compliance bundle offline: --bundle F --trust trust-root.json");
  pass("verify-bundle", [], "the same: verify-bundle F --trust trust-root.json");
  pass("verify-audit", ["audit"], "verify an exported immutable_audit.jsonl, streaming");
}

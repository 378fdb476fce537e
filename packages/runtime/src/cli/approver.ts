import { type Command, Option } from "commander";
import { many } from "./arguments.ts";

/** Who consents, by each word for it. */
export interface ApproverFlags {
  readonly approver: string[];
  readonly approve: string[];
  readonly as: string[];
}

/** `--approver` is the word everywhere; `--approve` and `--as` are older words for the same. */
export function withApprover(command: Command): Command {
  const text = "approve with this approver's key when policy asks for it; repeatable";
  command.option("--approver <role>", text, many, []);
  for (const alias of ["--approve <role>", "--as <role>"]) {
    command.addOption(new Option(alias).argParser(many).default([]).hideHelp());
  }
  return command;
}

/** Each of them once, by whichever word. */
export function approversOf({ approver, approve, as }: ApproverFlags): string[] {
  return [...new Set([...approver, ...approve, ...as])];
}

import type { Argument, Command, Option } from "commander";

/** What a shell may offer as a value: nothing it knows, a path, or one of these words. */
export type Value = "text" | "path" | readonly string[];

export interface OptionWords {
  /** With their dashes. */
  readonly flags: readonly string[];
  /** Null where it takes no value. */
  readonly value: Value | null;
  readonly text: string;
}

/** One command, as a shell completes it. */
export interface CommandWords {
  /** `exec run`; empty for the program itself. */
  readonly name: string;
  readonly commands: readonly { readonly name: string; readonly text: string }[];
  readonly options: readonly OptionWords[];
  /** What stands beside its options. */
  readonly value: Value;
}

/** A word that no shell reads anything into. */
const PLAIN = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;
const PATHS = new Set(["file", "folder", "place", "patch", "table", "command", "words"]);
/** Values that a command checks by itself. */
const FIXED: Readonly<Record<string, readonly string[]>> = { mode: ["sovereign", "compatible"] };

/** Every command of the program, the program first. */
export function commandWords(program: Command): CommandWords[] {
  const all: CommandWords[] = [];
  collect(program, "", program, all);
  return all;
}

function collect(command: Command, name: string, program: Command, all: CommandWords[]): void {
  const help = program.createHelp();
  const commands = help.visibleCommands(command).filter((one) => PLAIN.test(one.name()));
  const options = new Set([...help.visibleOptions(command), ...help.visibleOptions(program)]);
  const values = [command, ...command.commands.filter(isDefault)].flatMap(argumentValues);
  all.push({
    name,
    commands: commands.map((one) => ({ name: one.name(), text: one.description() })),
    options: distinct([...options].map(optionWords)),
    value: values.find((one) => one !== "text") ?? "text",
  });
  for (const child of command.commands) {
    collect(child, name === "" ? child.name() : `${name} ${child.name()}`, program, all);
  }
}

/** The program's own `--help` is each command's, too. */
function distinct(options: readonly OptionWords[]): OptionWords[] {
  const byFlags = new Map(options.map((one) => [one.flags.join(), one]));
  return [...byFlags.values()].filter(({ flags }) => flags.length > 0);
}

/** `sovereign run FILE` is `sovereign run start FILE`. */
function isDefault(child: Command): boolean {
  const { _defaultCommandName: name } = child.parent as unknown as { _defaultCommandName?: string };
  return name === child.name();
}

function argumentValues(command: Command): Value[] {
  return command.registeredArguments.map((one: Argument) => valueOf(one.name(), one.argChoices));
}

function optionWords(option: Option): OptionWords {
  const { flags, argChoices, description } = option;
  const placeholder = /[<[]([^>\].]+)/.exec(flags)?.[1];
  return {
    flags: [option.short, option.long].flatMap((flag) => flag ?? []),
    value: placeholder === undefined ? null : valueOf(placeholder, argChoices),
    text: description,
  };
}

function valueOf(placeholder: string, choices: readonly string[] | undefined): Value {
  const words = choices ?? FIXED[placeholder];
  if (words !== undefined) return words.filter((word) => PLAIN.test(word));
  return PATHS.has(placeholder) ? "path" : "text";
}

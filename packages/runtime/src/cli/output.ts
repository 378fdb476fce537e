import { errorRow, isSovereignError, printableJson, printableLines } from "@sovereign/core";
import type { CommanderError } from "commander";
import type { Services } from "../services/index.ts";

/** Where a command writes; colour only on a terminal. */
export interface Output {
  readonly json: boolean;
  readonly colour: boolean;
  /** Also the stack of what nobody expected. */
  readonly debug: boolean;
  /** Results, to standard output. */
  print(text: string): void;
  /** A result as JSON, one line. */
  printJson(value: unknown): void;
  /** What goes on, to standard error, so that results can be piped. */
  note(text: string): void;
}

/** @param tenant the command line's, once that was read: commands that are told name it */
export function createOutput(
  json: boolean,
  { debug, noColor }: Services["display"] = { debug: false, noColor: true },
  tenant: () => string = () => DEFAULT_TENANT,
): Output {
  const colour = process.stderr.isTTY && !noColor;
  const told = (text: string): string => forTenant(text, tenant());
  return {
    json,
    colour,
    debug,
    print: (text) => process.stdout.write(`${printableLines(told(text))}\n`),
    printJson: (value) => process.stdout.write(`${printableJson(JSON.stringify(value))}\n`),
    note: (text) =>
      process.stderr.write(`${colour ? shown(told(text)) : printableLines(told(text))}\n`),
  };
}

export const DEFAULT_TENANT = "default";
const COMMAND = /\bsovereign (?:[a-z]+ ){1,3}run_[a-z0-9]{20}\b/g;

/** A command that a text tells to type finds its run under the tenant that this one was typed for. */
export function forTenant(text: string, tenant: string): string {
  return tenant === DEFAULT_TENANT ? text : text.replaceAll(COMMAND, `$& --tenant ${tenant}`);
}

/** Our own colours; everything else may be somebody else's, such as one that hides what follows. */
const COLOUR = /(\u001b\[(?:0|31|32)m)/;

/**
 * What is printed may quote names, messages and logs that others wrote. None of it may move the
 * cursor, hide itself, or turn the direction of writing: so this is the one place that prints.
 */
function shown(text: string): string {
  return text
    .split(COLOUR)
    .map((part, index) => (index % 2 === 1 ? part : printableLines(part)))
    .join("");
}

/**
 * A line whose parts others may have written: a name, a reason, a message. None of them ends the line, so
 * that nobody writes a line of ours, and none has a colour.
 */
export function oneLine(texts: TemplateStringsArray, ...parts: readonly unknown[]): string {
  return texts.reduce((line, text, at) => `${line}${inLine(String(parts[at - 1]))}${text}`);
}

function inLine(text: string): string {
  return printableLines(text).replaceAll("\n", "\\u{a}").replaceAll("\t", "\\u{9}");
}

/** Tell an error to the user, once, without a stack; answer the exit code. */
export function reportError(output: Output, error: unknown): number {
  if (isSovereignError(error)) {
    const { code, message, details, exitCode } = error;
    if (output.json) output.printJson({ error: { code, message, details, exit: exitCode } });
    else output.note(`sovereign: ${message} (${code})`);
    return exitCode;
  }
  const message = error instanceof Error ? error.message : "unknown failure";
  if (output.json) output.printJson({ error: { code: "ERR_INTERNAL", message, exit: 1 } });
  else output.note(`sovereign: unexpected: ${message}`);
  if (output.debug && error instanceof Error) {
    output.note(error.stack ?? "");
  }
  return 1;
}

/** Tell what is wrong with a command line, where nobody has yet; answer the exit code. */
export function reportUsage(output: Output, error: CommanderError): number {
  if (error.exitCode === 0) return 0;
  if (output.json) {
    const helps = error.code === "commander.help";
    const message = helps ? "expected a command; see --help" : error.message;
    const text = message.replace(/^error: /, "");
    output.printJson({ error: { code: "ERR_USAGE", message: text, details: {}, exit: 2 } });
  }
  return 2;
}

/** What Commander says of a wrong command line, as our other errors are said. */
export function usageText(text: string): string {
  return `sovereign: ${text.replace(/^error: /, "")}`;
}

/** What is not as it should be, and keeps nothing from working. */
export function noteWarnings(output: Output, warnings: readonly string[]): void {
  for (const warning of warnings) output.note(`warning: ${warning}`);
}

/** The exit code that belongs to an error code. */
export function exitOf(code: string | null): number {
  return code === null ? 1 : errorRow(code).exit;
}

/** Columns of plain text, each row one line. */
export function table(given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(inLine));
  const widths = (rows[0] ?? []).map((_, column) =>
    rows.reduce((most, row) => Math.max(most, (row[column] ?? "").length), 0),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

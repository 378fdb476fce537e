import type { Command } from "commander";

/** A number that an option has; else the command ends. */
export function numberIn(command: Command, name: string, text: string): number {
  if (!/^\d{1,7}(\.\d{1,6})?$/.test(text)) command.error(`${name} ${text}: expected a number`);
  return Number(text);
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** Seconds, of a time such as 90s, 30m or 2h. */
export function durationOf(command: Command, text: string): number {
  const [, count = "", unit = "s"] = /^(\d{1,5})([smh])?$/.exec(text) ?? [];
  const seconds = Number(count) * (UNITS[unit] ?? 1);
  if (count !== "" && seconds >= 1 && seconds <= 86_400) return seconds;
  return command.error(`--timeout ${text}: expected a time such as 90s, 30m or 2h`);
}

/** How many model calls a run may make; null where the option is not given. */
export function turnsOf(command: Command, value: string | undefined): number | null {
  if (value === undefined) return null;
  const turns = numberIn(command, "--max-turns", value);
  if (Number.isInteger(turns) && turns >= 1 && turns <= 100_000) return turns;
  return command.error(`expected --max-turns with a whole number from 1 to 100000, found ${value}`);
}

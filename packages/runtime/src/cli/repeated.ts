import type { Command, Option } from "commander";

/** Said twice they mean the same: an alias may hold one of them already. */
const HARMLESS = new Set(["json", "verbose"]);

/**
 * Refuse an option that is given twice: of two policies the last one would win without a word.
 * Options that repeat by design have a list as their default.
 */
export function refuseRepeated(command: Command): void {
  for (const option of command.options) {
    if (option.variadic || Array.isArray(option.defaultValue) || HARMLESS.has(option.name()))
      continue;
    refuseSecond(command, option);
  }
}

function refuseSecond(command: Command, option: Option): void {
  let seen = 0;
  command.on(`option:${option.name()}`, () => {
    seen += 1;
    if (seen < 2) return;
    command.error(`error: option '${option.flags}' is given twice; expected it once`, {
      code: "commander.repeatedOption",
      exitCode: 2,
    });
  });
}

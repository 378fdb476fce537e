import { type JsonObject, nearestName, printable, SovereignError } from "@sovereign/core";
import type { Command } from "commander";
import type { Services } from "../../services/index.ts";
import type { CommandContext } from "../context.ts";
import { table } from "../output.ts";

type Setting = ReturnType<Services["settings"]>[number];

export function configCommands(program: Command, { services, output }: CommandContext): void {
  const config = program
    .command("config")
    .description("show the settings, and where each is set")
    .addHelpText("after", "\nEach setting is described in docs/settings.md.");

  config
    .command("list", { isDefault: true })
    .description("list every setting, its value, and where the value is set")
    .action(() => {
      const settings = services.settings();
      if (output.json) {
        for (const one of settings) output.printJson(jsonOf(one));
        return;
      }
      const rows = settings.map((one) => [one.name, valueOf(one), sourceOf(one)]);
      output.print(table([["NAME", "VALUE", "FROM"], ...rows]));
    });

  config
    .command("get <name>")
    .description("print the value of one setting")
    .action((name: string) => {
      const settings = services.settings();
      const found = settings.find((one) => one.name === name);
      if (found === undefined) throw unknown(name, settings);
      if (output.json) output.printJson(jsonOf(found));
      else output.print(valueOf(found));
    });
}

/** Its environment variable is a name for it, too. */
function unknown(name: string, settings: readonly Setting[]): SovereignError {
  const byVariable = settings.find(({ environment }) => environment === name)?.name;
  const names = settings.map((one) => one.name);
  const near = byVariable ?? nearestName(name, names);
  const meant = near === null ? "" : ` Did you mean ${near}?`;
  const text = `Expected the name of a setting, found "${printable(name)}".${meant} All of them: sovereign config list`;
  return new SovereignError("ERR_SETTING_UNKNOWN", text, { name });
}

function jsonOf({ inFile, ...setting }: Setting): JsonObject {
  return { ...setting, in_file: inFile };
}

function valueOf({ value }: Setting): string {
  if (value === null) return "(none)";
  return printable(typeof value === "string" ? value : JSON.stringify(value));
}

function sourceOf({ source, environment }: Setting): string {
  return source === "environment" ? (environment ?? source) : source;
}

import type { CommandWords, OptionWords, Value } from "./command-words.ts";

/** The script for fish 3 and newer. */
export function fishScript(commands: readonly CommandWords[]): string {
  return `# Completion of sovereign for fish. Type: sovereign completion fish --help

# Whether the words so far name this command.
function __sovereign_at
    set -l known ${commands.map(({ name }) => quote(name)).join(" ")}
    set -l at ''
    for word in (commandline -opc)[2..-1]
        set -l next (string trim -- "$at $word")
        if contains -- "$next" $known
            set at $next
        end
    end
    test "$at" = "$argv[1]"
end

complete -c sovereign -f
${commands.flatMap(commandLines).join("\n")}
`;
}

function commandLines({ name, commands, options, value }: CommandWords): string[] {
  const start = `complete -c sovereign -n ${quote(`__sovereign_at ${quote(name)}`)}`;
  return [
    ...commands.map((one) => `${start} -a ${one.name} -d ${quote(one.text)}`),
    ...options.map((one) => `${start}${optionWords(one)}`),
    ...(value === "text" ? [] : [`${start}${taken(value)}`]),
  ];
}

function optionWords({ flags, value, text }: OptionWords): string {
  const names = flags.map((flag) =>
    flag.startsWith("--") ? ` -l ${flag.slice(2)}` : ` -s ${flag.slice(1)}`,
  );
  // Fish offers files for every option with a value, unless it is told that there are none.
  const needs = value === null ? "" : ` ${value === "path" ? "-r" : "-x"}${taken(value)}`;
  return `${names.join("")}${needs} -d ${quote(text)}`;
}

function taken(value: Value): string {
  if (value === "text") return "";
  return value === "path" ? " -F" : ` -a ${quote(value.join(" "))}`;
}

/** In single quotes fish reads only these two. */
function quote(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}

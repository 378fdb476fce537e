/**
 * The manual page of the program, from what its help says of each command.
 *
 * @param version of the package
 * @param help by the words of the command; the program's own has none
 */
export function manPage(version: string, help: Readonly<Record<string, string>>): string {
  const sections = Object.entries(help).map(([words, text]) => {
    const title = words === "" ? ".SH DESCRIPTION" : `.SS sovereign ${roff(words)}`;
    return [title, ".nf", ...text.trimEnd().split("\n").map(roff), ".fi"].join("\n");
  });
  return [
    `.TH SOVEREIGN 1 "" "sovereign ${roff(version)}" "User Commands"`,
    ".SH NAME",
    "sovereign \\- run AI agents and pipelines whose work can be proved",
    sections[0] ?? "",
    ".SH COMMANDS",
    ...sections.slice(1),
    "",
  ].join("\n");
}

/** A line as it stands: no character of it is a request or an escape. */
function roff(line: string): string {
  const text = line.replaceAll("\\", "\\e").replaceAll("-", "\\-");
  return /^[.']/.test(text) ? `\\&${text}` : text;
}

import { printable } from "@sovereign/core";
import { type CompiledPolicy, isNetworkPattern, type Pattern } from "./compile.ts";

/**
 * What a policy allows, one thing a line, for somebody who is to accept it.
 * @param policy untrusted: its words are quoted
 */
export function describePolicy({ mode, rules, patterns, tools }: CompiledPolicy): string[] {
  const globs = (kind: Pattern["kind"]): string[] =>
    patterns.filter((one) => one.kind === kind).map(({ glob }) => quoted(glob));
  const list = (what: string, names: readonly string[]): string[] => [
    `${what}: ${names.length === 0 ? "none" : names.join(", ")}`,
  ];
  const commands = patterns
    .filter(({ kind }) => kind === "command")
    .map(({ glob, args }) => `command: ${[glob, ...args].map(quoted).join(" ")}`);
  const mounts = (tools?.mounts ?? []).map(
    ({ path, at, copy }) =>
      `mount: ${quoted(path)}${at === undefined ? "" : ` at ${quoted(at)}`}${copy ? ", as a copy" : ", read-only"}`,
  );
  const hosts = (opens: boolean): string[] =>
    patterns
      .filter((one) => one.kind === "host" && isNetworkPattern(one) === opens)
      .map(({ glob }) => quoted(glob));
  const steered = globs("ci");
  const others = Object.keys(rules).filter(
    (id) => !/^(?:command|host|network|deny|file\.[a-z_]+):/.test(id),
  );
  return [
    mode === "observe"
      ? "mode: observe. What it does not allow is done all the same, and recorded."
      : "mode: enforce",
    ...(commands.length === 0 ? ["commands: none"] : commands),
    ...(mounts.length === 0 ? ["mounts: none"] : mounts),
    ...list("tools", (tools?.presets ?? []).map(String)),
    ...list("hosts", hosts(false)),
    ...list("hosts that commands and agents connect to", hosts(true)),
    ...list("paths", globs("path")),
    ...list("denied paths", globs("deny")),
    ...(steered.length === 0 ? [] : list("files that other tools run", steered)),
    ...list("other rules", others.map(quoted)),
  ];
}

/** Whole, however long: what is cut off would be accepted unseen. */
function quoted(text: string): string {
  return printable(JSON.stringify(text));
}

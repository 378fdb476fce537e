import { printable } from "@sovereign/core";
import { type CompiledPolicy, isNetworkPattern, type Pattern } from "./compile.ts";

/**
 * What a policy allows, one thing a line, for somebody who is to accept it.
 * @param policy untrusted: its words are quoted
 */
export function describePolicy(policy: CompiledPolicy): string[] {
  const { mode, rules, patterns, tools } = policy;
  const globs = (kind: Pattern["kind"]): string[] =>
    patterns.filter((one) => one.kind === kind).map(({ glob }) => quoted(glob));
  const list = (what: string, names: readonly string[]): string[] => [
    `${what}: ${names.length === 0 ? "none" : names.join(", ")}`,
  ];
  const commands = patterns
    .filter(({ kind }) => kind === "command")
    .map(({ glob, args }) => `command: ${[glob, ...args].map(quoted).join(" ")}`);
  const mounts = (tools?.mounts ?? []).map(({ path, at, copy, digest }) => {
    const place = at === undefined ? "" : ` at ${quoted(at)}`;
    const held = digest === undefined ? "" : `, with the digest ${digest}`;
    return `mount: ${quoted(path)}${place}${copy ? ", as a copy" : ", read-only"}${held}`;
  });
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
    ...list("operations on files", fileTypes(Object.keys(rules))),
    ...list("paths", globs("path")),
    ...list("denied paths", globs("deny")),
    ...(steered.length === 0 ? [] : list("files that other tools run", steered)),
    ...list("other rules", others.map(quoted)),
    ...approvalsOf(policy),
    ...limitsOf(policy),
  ];
}

function fileTypes(rules: readonly string[]): string[] {
  return [...new Set(rules.flatMap((id) => FILE_RULE.exec(id)?.[1] ?? []))];
}

const FILE_RULE = /^(file\.[a-z_]+):/;

/** Who is asked for what. Rules for one type of action ask alike. */
function approvalsOf({ rules }: CompiledPolicy): string[] {
  const asked = new Map<string, Set<string>>();
  for (const [id, rule] of Object.entries(rules)) {
    const demand = rule.annotations?.["step_up"];
    if (demand === undefined) continue;
    const what = FILE_RULE.exec(id)?.[1] ?? id;
    asked.set(demand, (asked.get(demand) ?? new Set()).add(what));
  }
  if (asked.size === 0) return ["approvals: none. It asks nobody."];
  return [...asked].map(
    ([demand, what]) => `approvals: ${quoted(demand)} for ${[...what].map(quoted).join(", ")}`,
  );
}

function limitsOf({ limits }: CompiledPolicy): string[] {
  return Object.entries(limits ?? {}).map(([name, value]) => `limit: ${name} ${String(value)}`);
}

/**
 * What differs between two policies, line by line as they are described: `-` for what was, `+` for
 * what is.
 */
export function comparePolicies(before: readonly string[], now: readonly string[]): string[] {
  const gone = before.filter((line) => !now.includes(line)).map((line) => `- ${line}`);
  return [...gone, ...now.filter((line) => !before.includes(line)).map((line) => `+ ${line}`)];
}

/** Whole, however long: what is cut off would be accepted unseen. */
function quoted(text: string): string {
  return printable(JSON.stringify(text));
}

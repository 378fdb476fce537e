import { type Action, cutText, policyFace, policyWords, quoted } from "@sovereign/core";
import { isNetworkPattern, type Pattern } from "./compile.ts";
import { matchesGlob } from "./glob.ts";

const SHOWN_MAX = 5;
const WORDS_CHARS_MAX = 160;

/**
 * Which pattern of a policy came closest to an action that no rule allows, and what did not match.
 * For whoever reads the denial: it decides nothing.
 *
 * @param path the action's resource, resolved; null where it is none
 * @returns null where nothing is near
 */
export function nearMiss(
  action: Action,
  patterns: readonly Pattern[],
  path: string | null,
): string | null {
  switch (policyFace(action.type).matches) {
    case "command":
      return nearCommand(action, of(patterns, "command"));
    case "path":
      return path === null ? null : nearPath(action, path, of(patterns, "path"));
    case "host":
      return nearHost(action, of(patterns, "host"));
    case "resource":
      return nearResource(action, of(patterns, "resource"));
  }
}

/** The section `agent` writes the rules of what agents do; `operations` those of all else. */
function nearResource({ type }: Action, resources: readonly Pattern[]): string {
  const section = type.startsWith("agent.") ? "agent" : "operations";
  const near = resources.filter((one) => one.args[0] === type);
  if (near.length > 0) return listed(`${section}: ${type}`, near);
  return `${section} of the policy does not name ${type}`;
}

function nearHost({ type }: Action, hosts: readonly Pattern[]): string {
  const opens = type === "network.connect";
  const near = hosts.filter((one) => isNetworkPattern(one) === opens);
  return listed(opens ? "network.hosts" : "hosts", near);
}

function of(patterns: readonly Pattern[], kind: Pattern["kind"]): Pattern[] {
  return patterns.filter((one) => one.kind === kind);
}

function nearCommand(action: Action, commands: readonly Pattern[]): string {
  const argv = action.params["argv"];
  const words = Array.isArray(argv) ? argv.filter((word) => typeof word === "string") : [];
  const asked = cutText([action.resource, ...words].join(" "), WORDS_CHARS_MAX);
  const near = commands
    .filter((one) => one.glob === action.resource)
    .map((one) => ({ one, other: words.filter((word) => !isAllowed(one, word)) }))
    .sort((a, b) => a.other.length - b.other.length)[0];
  if (near === undefined) return `asked: ${quoted(asked)}; ${listed("commands", commands)}`;
  const wrong = near.other.slice(0, SHOWN_MAX).map((word) => quoted(cutText(word, 60)));
  return `asked: ${quoted(asked)}; ${near.one.name} comes closest: its allowed_args do not match ${wrong.join(", ")}`;
}

function isAllowed({ args }: Pattern, word: string): boolean {
  return args.some((glob) => matchesGlob(glob, word));
}

function nearPath(action: Action, path: string, paths: readonly Pattern[]): string {
  const matching = paths.find((one) => matchesGlob(one.glob, path));
  if (matching === undefined) return listed("allowlist.paths", paths);
  const words = Object.entries(policyWords("path"));
  const [word = action.type] = words.find(([, types]) => types.includes(action.type)) ?? [];
  return `${quoted(matching.glob)} matches the path, and allowlist.file_operations does not name ${word}`;
}

function listed(what: string, patterns: readonly Pattern[]): string {
  if (patterns.length === 0) return `the policy has no ${what}`;
  const shown = patterns.slice(0, SHOWN_MAX).map((one) => quoted(cutText(one.glob, 60)));
  const more = patterns.length > SHOWN_MAX ? `, and ${patterns.length - SHOWN_MAX} more` : "";
  return `${what} has ${shown.join(", ")}${more}`;
}

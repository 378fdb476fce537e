import { type Action, SovereignError } from "@sovereign/core";
import type { Pattern } from "./compile.ts";

/** One argument of a command that patterns are held against. */
const ARGUMENT_CHARS_MAX = 16 * 1024;
/** Characters of patterns times characters of text: below half a second, whatever they are. */
const WORK_MAX = 5_000_000;

/**
 * Refuse what would take long to match. Patterns are somebody's and texts an agent's; whoever waits
 * for the decision is everybody.
 *
 * @throws ERR_MATCH_LIMIT
 */
export function refuseTooMuchWork(patterns: readonly Pattern[], action: Action): void {
  const argv = action.type === "command.run" ? wordsOf(action.params["argv"]) : [];
  const longest = Math.max(0, ...argv.map((word) => word.length));
  if (longest > ARGUMENT_CHARS_MAX) {
    throw beyond(`an argument of ${longest} characters, more than ${ARGUMENT_CHARS_MAX}`);
  }
  const text = argv.reduce((sum, word) => sum + word.length + 1, 0);
  let work = 0;
  for (const { kind, glob, args } of patterns) {
    if (kind !== "command") work += glob.length * action.resource.length;
    else if (glob === action.resource) {
      work += args.reduce((sum, arg) => sum + arg.length + 1, 0) * text;
    }
  }
  if (work > WORK_MAX) throw beyond("more patterns and text than can be matched in time");
}

function wordsOf(argv: unknown): string[] {
  return Array.isArray(argv) ? argv.filter((word) => typeof word === "string") : [];
}

function beyond(found: string): SovereignError {
  return new SovereignError("ERR_MATCH_LIMIT", `The policy is not matched: ${found}.`);
}

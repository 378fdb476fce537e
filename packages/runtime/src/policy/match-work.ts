import { type Action, policyFace, SovereignError } from "@sovereign/core";
import type { Pattern } from "./compile.ts";
import { denialWork } from "./path-patterns.ts";

/** One argument of a command that patterns are held against. */
const ARGUMENT_CHARS_MAX = 16 * 1024;
/** Characters of patterns times characters of text: below half a second, whatever they are. */
const WORK_MAX = 5_000_000;

/** What the patterns of a policy are held against. */
export interface MatchedTexts {
  readonly action: Action;
  /** Of an operation on files. */
  readonly paths: readonly string[];
  /** What a commit changes of files that others run. */
  readonly ciFiles: readonly string[];
}

/**
 * Refuse what would take long to match. Patterns are somebody's and texts an agent's; whoever waits
 * for the decision is everybody.
 *
 * INVARIANT: every match that a decision makes is counted.
 *
 * @throws ERR_MATCH_LIMIT
 */
export function refuseTooMuchWork(patterns: readonly Pattern[], texts: MatchedTexts): void {
  const { action } = texts;
  const words = policyFace(action.type).matches === "command" ? wordsOf(action.params["argv"]) : [];
  const longest = words.reduce((most, word) => Math.max(most, word.length), 0);
  if (longest > ARGUMENT_CHARS_MAX) {
    throw beyond(`an argument of ${longest} characters, more than ${ARGUMENT_CHARS_MAX}`);
  }
  const argv = words.reduce((sum, word) => sum + word.length + 1, 0);
  const ciFiles = texts.ciFiles.reduce((sum, path) => sum + path.length + 1, 0);
  const path = texts.paths.reduce((sum, one) => sum + one.length, 0);
  const lengths = { path, argv, ciFiles };
  let work = 0;
  for (const pattern of patterns) {
    work += workOf(pattern, texts, lengths);
    if (work > WORK_MAX) throw beyond("more patterns and text than can be matched in time");
  }
}

interface Lengths {
  readonly path: number;
  readonly argv: number;
  readonly ciFiles: number;
}

function workOf(pattern: Pattern, { action, paths }: MatchedTexts, lengths: Lengths): number {
  const { kind, glob, args } = pattern;
  switch (kind) {
    case "path":
      return glob.length * lengths.path;
    case "ci":
      return glob.length * (lengths.path * 2 + lengths.ciFiles);
    case "deny":
      return paths.reduce((sum, path) => sum + denialWork(glob, path), 0);
    case "host":
      return policyFace(action.type).matches === "host" ? glob.length * action.resource.length : 0;
    case "resource":
      return action.type === args[0] ? glob.length * action.resource.length : 0;
    case "command": {
      if (policyFace(action.type).matches !== "command" || glob !== action.resource) return 0;
      return args.reduce((sum, arg) => sum + arg.length + 1, 0) * lengths.argv;
    }
  }
}

function wordsOf(argv: unknown): string[] {
  return Array.isArray(argv) ? argv.filter((word) => typeof word === "string") : [];
}

function beyond(found: string): SovereignError {
  return new SovereignError("ERR_MATCH_LIMIT", `The policy is not matched: ${found}.`);
}

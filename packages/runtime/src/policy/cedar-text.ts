import { SovereignError } from "@sovereign/core";
import { textPlace } from "./text-place.ts";

/** Cedar's reader needs its stack for each level: at 200 it breaks. */
const NESTING_MAX = 50;
/** About what 50 comparisons take; what is longer is deeper than the reader can take it. */
const TOKENS_MAX = 2000;
const POLICIES_MAX = 1000;

const TOKEN = /"(?:[^"\\]|\\.)*"|\/\/[^\n]*|[A-Za-z_][A-Za-z0-9_]*|\d+|\s+|[^]/gu;

/**
 * Look at Cedar text before Cedar does: how deep it is nested, how long each policy is, and how
 * many there are. What is beyond makes the reader break instead of answering.
 *
 * @throws ERR_POLICY_INVALID
 */
export function checkCedarText(text: string, path: string): void {
  let depth = 0;
  let tokens = 0;
  let policies = 0;
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (/^\s|^\/\//.test(token)) continue;
    tokens += 1;
    if ("([{".includes(token)) depth += 1;
    if (")]}".includes(token)) depth -= 1;
    if (depth > NESTING_MAX) throw beyond(path, text, index, `nested deeper than ${NESTING_MAX}`);
    if (tokens > TOKENS_MAX)
      throw beyond(path, text, index, `a policy of over ${TOKENS_MAX} words`);
    if (token !== ";") continue;
    tokens = 0;
    policies += 1;
    if (policies > POLICIES_MAX) throw beyond(path, text, index, `over ${POLICIES_MAX} policies`);
  }
}

function beyond(path: string, text: string, at: number, found: string): SovereignError {
  return new SovereignError("ERR_POLICY_INVALID", `${textPlace(path, text, at)}: ${found}`);
}

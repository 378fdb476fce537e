import { createContext, Script } from "node:vm";
import { digestOf, type JsonObject, readFormat } from "@sovereign/core";
import { z } from "zod";

/** What the largest values of ordinary schemas take is a hundredth of it. */
const CHECK_MS = 1000;
const TRIES = 2;
const SLOW_MAX = 1000;
const TOO_SLOW =
  "the schema of skill.yaml takes too long to check it. Mend its patterns, such as ^(a+)+$, and trust the skill again";

const WORK = new Script("work()");
/** Schemas that once took too long: whoever has such a value has as many as he likes. */
const slow = new Set<string>();

/**
 * A JSON Schema that somebody wrote by hand, for values that somebody else chooses. With some patterns a
 * short text takes for ever. So a check is given up after a second, and of a schema with which that
 * happened nothing is checked any more by this process.
 *
 * @throws whatever Zod says of what is no schema
 */
export function ownSchema(schema: JsonObject): z.ZodType {
  const format = z.fromJSONSchema(schema);
  const key = digestOf(schema);
  return z.unknown().check((payload) => {
    const { value } = payload;
    const issues = issuesOf(format, value, key);
    if (issues === null) payload.issues.push({ code: "custom", message: TOO_SLOW, input: value });
    else
      for (const { path, message } of issues)
        payload.issues.push({ code: "custom", path: [...path], message, input: value });
  });
}

function issuesOf(format: z.ZodType, value: unknown, key: string): z.core.$ZodIssue[] | null {
  if (slow.has(key)) return null;
  let issues: z.core.$ZodIssue[] = [];
  const isDone = inTime(() => {
    issues = readFormat(format, value).error?.issues ?? [];
  });
  if (isDone) return issues;
  slow.add(key);
  const [oldest = key] = slow;
  if (slow.size > SLOW_MAX) slow.delete(oldest);
  return null;
}

/** Ends the work after its time, also where it is one regular expression that does not end. */
function inTime(work: () => void): boolean {
  const context = createContext({ work });
  for (let round = 0; round < TRIES; round++) {
    const before = process.cpuUsage();
    try {
      WORK.runInContext(context, { timeout: CHECK_MS });
      return true;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw error;
      const { user, system } = process.cpuUsage(before);
      // Else the machine had no time for it, which says nothing of the schema.
      if (user + system > CHECK_MS * 500) return false;
    }
  }
  return false;
}

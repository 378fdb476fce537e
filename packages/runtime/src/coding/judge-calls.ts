import { cutText, printable } from "@sovereign/core";
import type { AgentEnd, AgentEvent, AgentOutcome, ToolAnswer } from "./adapter.ts";

const TEXT_CHARS = 400;

/**
 * What is success for every agent: exit 0, a last word that says so, every tool call that was made
 * asked for before, no end at a denial, and a hook that answered and told the end of each call.
 */
export function judgeEnd(end: AgentEnd): AgentOutcome {
  const { exitCode, events, answers } = end;
  if (hasUnasked(end)) {
    return failed("ERR_AGENT_HOOK", "it carried a tool call out that it had not asked for");
  }
  if (events.some((one) => one.kind === "tool_result" && one.isHookFailed) || hasEndless(end)) {
    return failed("ERR_AGENT_HOOK", "its hook was killed or failed, so a call has no whole record");
  }
  const result = events.findLast((one) => one.kind === "result");
  if (result === undefined) {
    return failed("ERR_AGENT_FAILED", `exit ${String(exitCode)}, and it never said how it ended`);
  }
  const last = answers.at(-1);
  if (last?.allowed === false) {
    return failed(
      "ERR_AGENT_DENIED",
      `it ended after ${printable(last.tool)} was denied: ${last.reason}`,
    );
  }
  if (exitCode === 0 && result.ok) return { ok: true };
  // The agent's own words, on one line: they stand in the run's reason, which is printed.
  const said = printable(cutText(`${result.word}: ${result.text}`, TEXT_CHARS));
  return failed("ERR_AGENT_FAILED", `exit ${String(exitCode)}, ${said}`);
}

/**
 * The calls that were allowed, and those that an agent says to have made. Calls that look alike are
 * counted: an answer is for one of them.
 */
export class AskedCalls {
  readonly #begun = new Tally();
  readonly #made = new Tally();

  answer({ mark, allowed }: ToolAnswer): void {
    if (!allowed) return;
    this.#begun.add(mark);
    this.#made.add(mark);
  }

  /** Whether this event is of a call for which no answer that allows it is left. */
  isUnasked(event: AgentEvent): boolean {
    if (event.kind === "tool_begun") return !this.#begun.take(event.mark);
    return event.kind === "tool_result" && event.ran && !this.#made.take(event.mark);
  }
}

class Tally {
  readonly #counts = new Map<string, number>();

  add(mark: string): void {
    this.#counts.set(mark, (this.#counts.get(mark) ?? 0) + 1);
  }

  /** @returns whether one was left */
  take(mark: string): boolean {
    const count = this.#counts.get(mark) ?? 0;
    if (count > 0) this.#counts.set(mark, count - 1);
    return count > 0;
  }
}

function hasUnasked({ events, answers }: AgentEnd): boolean {
  const asked = new AskedCalls();
  for (const answer of answers) asked.answer(answer);
  return events.some((event) => asked.isUnasked(event));
}

/** Whether a call was made of which the hook never told that it had ended. */
function hasEndless({ events, ended }: AgentEnd): boolean {
  const left = new Tally();
  for (const mark of ended) left.add(mark);
  return events.some((one) => one.kind === "tool_result" && one.ran && !left.take(one.mark));
}

function failed(
  code: "ERR_AGENT_FAILED" | "ERR_AGENT_DENIED" | "ERR_AGENT_HOOK",
  reason: string,
): AgentOutcome {
  return { ok: false, code, reason };
}

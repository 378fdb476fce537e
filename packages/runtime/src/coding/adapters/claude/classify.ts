import { cutText } from "@sovereign/core";
import type { AgentEnd, AgentEvent, AgentOutcome } from "../../adapter.ts";

const TEXT_CHARS = 400;

/**
 * Success is exit 0, a last line that says so, every tool call that was carried out asked for before,
 * no end at a denial, and a hook that answered and told the end of each call. This program ends with
 * exit 0 and `success` after a call that was denied.
 */
export function classify({ exitCode, events, answers, ended }: AgentEnd): AgentOutcome {
  const allowed = new Set(answers.filter((one) => one.allowed).map(({ id }) => id));
  const unasked = events.find(
    (one) => one.kind === "tool_result" && !one.isError && !allowed.has(one.id),
  );
  if (unasked !== undefined) {
    return failed("ERR_AGENT_HOOK", "it carried a tool call out that it had not asked for");
  }
  const hookless = events.find((one) => isHookless(one, ended));
  if (hookless !== undefined) {
    return failed("ERR_AGENT_HOOK", "its hook was killed or failed, so a call has no whole record");
  }
  const result = events.findLast((one) => one.kind === "result");
  if (result === undefined) {
    return failed("ERR_AGENT_FAILED", `exit ${String(exitCode)}, and it never said how it ended`);
  }
  const last = answers.at(-1);
  if (last?.allowed === false) {
    return failed("ERR_AGENT_DENIED", `it ended after ${last.tool} was denied: ${last.reason}`);
  }
  if (exitCode === 0 && result.ok) return { ok: true };
  const said = cutText(result.text, TEXT_CHARS);
  return failed("ERR_AGENT_FAILED", `exit ${String(exitCode)}, ${result.word}: ${said}`);
}

/** A call whose hook ended before it answered, or never told that the call had ended. */
function isHookless(event: AgentEvent, ended: ReadonlySet<string>): boolean {
  if (event.kind !== "tool_result") return false;
  return event.isHookFailed || (!event.isError && !ended.has(event.id));
}

function failed(
  code: "ERR_AGENT_FAILED" | "ERR_AGENT_DENIED" | "ERR_AGENT_HOOK",
  reason: string,
): AgentOutcome {
  return { ok: false, code, reason };
}

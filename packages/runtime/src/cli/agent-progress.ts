import { printable } from "@sovereign/core";
import type { AgentProgress } from "../coding/index.ts";

const EVENTS: readonly string[] = [
  "agent.started",
  "agent.text",
  "agent.tool",
  "agent.branch_kept",
];

const HOW = {
  new: "",
  continued: ", and goes on with its conversation",
  again: ", and starts again: its conversation could not be gone on with",
} as const;

/** True for what an agent does while people watch. */
export function isAgentProgress(progress: { readonly event: string }): progress is AgentProgress {
  return EVENTS.includes(progress.event);
}

/**
 * One line, or the agent's own words: these stand behind a bar, line by line, so that none of them is
 * taken for a line of ours.
 */
export function agentLine(
  progress: AgentProgress,
  paint: (code: number, text: string) => string,
): string {
  switch (progress.event) {
    case "agent.started":
      return `  ${progress.agent} ${progress.version} works${HOW[progress.session]}`;
    case "agent.text":
      return barred(progress.text);
    case "agent.tool":
      return progress.allowed
        ? `     ${paint(32, "allowed")} ${printable(progress.tool)}`
        : `     ${paint(31, "denied")} ${printable(progress.tool)}: ${printable(progress.reason)}`;
    case "agent.branch_kept":
      return `  the branch ${printable(progress.branch)} stays: ${printable(progress.why)}`;
  }
}

/** @param text untrusted */
export function barred(text: string): string {
  return text
    .split(/\r\n|\r|\n/)
    .map((line) => `     | ${printable(line)}`)
    .join("\n");
}

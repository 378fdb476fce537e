import type { AgentProgress } from "../coding/index.ts";

const EVENTS: readonly string[] = ["agent.started", "agent.text", "agent.tool"];

/** True for what an agent does while people watch. */
export function isAgentProgress(progress: { readonly event: string }): progress is AgentProgress {
  return EVENTS.includes(progress.event);
}

/** One line, or the agent's own words. */
export function agentLine(
  progress: AgentProgress,
  paint: (code: number, text: string) => string,
): string {
  switch (progress.event) {
    case "agent.started":
      return `  ${progress.agent} ${progress.version} works`;
    case "agent.text":
      return `     ${progress.text}`;
    case "agent.tool":
      return progress.allowed
        ? `     ${paint(32, "allowed")} ${progress.tool}`
        : `     ${paint(31, "denied")} ${progress.tool}: ${progress.reason}`;
  }
}

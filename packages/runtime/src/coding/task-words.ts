import type { AgentTask } from "./adapter.ts";

const GO_ON =
  "You were interrupted in the middle of your task. Your files are as you left them; what ran then has ended. Go on with the task, and finish it.";

/** What an agent is told: its task, or that it is to go on with it. */
export function wordsFor({ prompt, resume }: Pick<AgentTask, "prompt" | "resume">): string {
  return resume === undefined ? prompt : GO_ON;
}

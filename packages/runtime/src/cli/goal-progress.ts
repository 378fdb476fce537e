import { printable } from "@sovereign/core";
import type { GoalProgress } from "../services/index.ts";

/** True for what happens in the run of a goal. */
export function isGoalProgress(progress: { readonly event: string }): progress is GoalProgress {
  return progress.event.startsWith("goal.");
}

export function goalLine(
  progress: GoalProgress,
  paint: (code: number, text: string) => string,
): string {
  switch (progress.event) {
    case "goal.started":
      return `${printable(progress.agent)}: ${progress.steps} steps by the planner ${progress.planner}, run ${progress.run}`;
    case "goal.resumed":
      return `${printable(progress.agent)}: run ${progress.run} goes on`;
    case "goal.step_started":
      return `  ${printable(progress.step)} (${printable(progress.skill)})`;
    case "goal.step_ended": {
      const colour = progress.status === "failed" ? 31 : 32;
      const { step, status, detail } = progress;
      return `     ${paint(colour, status)} ${step}: ${printable(detail)}`;
    }
  }
}

/** What whoever runs a goal is told. */
export type GoalProgress =
  | {
      readonly event: "goal.started" | "goal.resumed";
      readonly run: string;
      readonly agent: string;
      readonly planner: string;
      readonly steps: number;
    }
  | { readonly event: "goal.step_started"; readonly step: string; readonly skill: string }
  | {
      readonly event: "goal.step_ended";
      readonly step: string;
      readonly skill: string;
      readonly status: "completed" | "skipped" | "failed";
      readonly detail: string;
    };

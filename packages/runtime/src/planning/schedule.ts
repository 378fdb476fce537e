import type { CheckedStep } from "./check-plan.ts";

/** How a step ended that was not an error; `skipped` leaves out what needs it. */
export type StepEnd = "completed" | "skipped";

/** What is done with one step. @throws where the run cannot go on */
export type DoStep = (step: CheckedStep, needsSkipped: boolean) => Promise<StepEnd>;

/**
 * Do the steps of a plan, side by side up to a limit, each once what it needs has ended. The first
 * error keeps new steps from beginning; those that run are waited for, so that each has its record.
 *
 * @throws the first error
 */
export async function runSchedule(
  steps: readonly CheckedStep[],
  parallel: number,
  doStep: DoStep,
): Promise<void> {
  const waiting = new Set(steps);
  const ended = new Map<string, StepEnd>();
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  const start = (step: CheckedStep): void => {
    waiting.delete(step);
    const needsSkipped = step.needs.some((id) => ended.get(id) === "skipped");
    const work = doStep(step, needsSkipped)
      .then((end) => {
        ended.set(step.id, end);
      })
      .catch((error: unknown) => {
        failures.push(error);
      })
      .finally(() => running.delete(work));
    running.add(work);
  };
  while (waiting.size > 0 || running.size > 0) {
    for (const step of waiting) {
      if (failures.length > 0 || running.size >= parallel) break;
      if (step.needs.every((id) => ended.has(id))) start(step);
    }
    if (running.size === 0) break;
    await Promise.race(running);
  }
  if (failures.length > 0) throw failures[0];
}

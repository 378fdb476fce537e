import type { LedgerAction } from "./inputs.ts";

/** The first completed action of each place: where evidence is hostile there are many of both. */
export function completedActions(
  actions: readonly LedgerAction[],
): ReadonlyMap<string, LedgerAction> {
  const made = new Map<string, LedgerAction>();
  for (const one of actions) {
    if (one.completed && !made.has(one.stepId)) made.set(one.stepId, one);
  }
  return made;
}

import type { PolicyDecision } from "@sovereign/core";
import { wrong } from "./step-recorder.ts";

/** A permission says which rule gave it; the default is a denial. */
export function verifyPermission({ effect, rules, approvals, observed }: PolicyDecision): void {
  if (effect === "deny") throw wrong("A denied action was authorised.");
  if (observed && effect !== "allow") throw wrong("Only an allowance can be an observed denial.");
  if (rules.length === 0 && !observed) throw wrong("No rule is named that allowed the action.");
  if ((effect === "step_up") !== (approvals !== null)) {
    throw wrong("Approvals belong to a step-up, and a step-up names its approvals.");
  }
}

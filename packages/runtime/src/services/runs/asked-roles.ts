import { SovereignError } from "@sovereign/core";
import type { CompiledPolicy } from "../../policy/index.ts";

/** The roles that a policy's rules ask for: `2 of release_manager,safety_officer`. */
export function askedRoles({ rules }: Pick<CompiledPolicy, "rules">): string[] {
  const asked = Object.values(rules).flatMap((rule) => {
    const of = rule.annotations?.["step_up"]?.split(" of ")[1];
    return of?.split(",").map((role) => role.trim()) ?? [];
  });
  return [...new Set(asked)];
}

/**
 * Refuse the consent of somebody whom the run never asks: a misspelt name would be without effect,
 * and the run would wait for ever.
 *
 * @param roles whom it may ask; undefined where that is not known
 * @throws ERR_APPROVER_REFUSED
 */
export function refuseUnasked(
  approvers: readonly string[],
  roles: readonly string[] | undefined,
): void {
  const unasked = approvers.find((one) => roles?.includes(one) === false);
  if (roles === undefined || unasked === undefined) return;
  const expected = roles.length === 0 ? "nobody at all" : `only ${roles.join(", ")}`;
  const text = `--approver ${unasked}: this run asks for the consent of ${expected}.`;
  throw new SovereignError("ERR_APPROVER_REFUSED", text, { approver: unasked });
}

import { countHolders, type PolicyDecision, SovereignError } from "@sovereign/core";

/** How many of which roles must approve. */
export type Demand = NonNullable<PolicyDecision["approvals"]>;

/**
 * Read `2 of release_manager,safety_officer`.
 * @throws ERR_POLICY_INVALID
 */
export function parseStepUp(id: string, text: string): Demand {
  const match = /^([1-9]\d?) of ([a-z][a-z0-9_.-]*(?:,[a-z][a-z0-9_.-]*)*)$/.exec(text);
  const required = Number(match?.[1]);
  const roles = [...new Set(match?.[2]?.split(","))];
  if (match === null || required > countHolders(roles)) {
    const expected =
      'expected @step_up("N of role,role,…") with N of at least as many people, whose names are not read as one another\'s';
    throw new SovereignError("ERR_POLICY_INVALID", `${id}: ${expected}, found ${text}`);
  }
  return { required, roles };
}

export function stepUpText({ required, roles }: Demand): string {
  return `${required} of ${roles.join(",")}`;
}

/**
 * The strictest of several demands on one action: the most people, and among as many only the
 * roles that each of them names.
 *
 * @returns null where nothing is demanded
 * @throws ERR_POLICY_INVALID when no people could meet them all
 */
export function strictestDemand(demands: readonly Demand[]): Demand | null {
  let strictest: Demand | null = null;
  for (const demand of demands) {
    if (strictest === null || demand.required > strictest.required) {
      strictest = demand;
    } else if (demand.required === strictest.required) {
      const { required, roles }: Demand = strictest;
      strictest = { required, roles: roles.filter((role) => demand.roles.includes(role)) };
    }
  }
  if (strictest !== null && countHolders(strictest.roles) < strictest.required) {
    const texts = demands.map(stepUpText).join("; ");
    const text = `these approvals for one operation cannot be met together: ${texts}`;
    throw new SovereignError("ERR_POLICY_INVALID", text);
  }
  return strictest;
}

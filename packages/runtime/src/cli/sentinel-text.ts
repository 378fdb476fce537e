import type { SelfProofHealth } from "../services/index.ts";

/** Whether it is known that the switch does not do what it should. */
export function isUnproved(proof: SelfProofHealth | null | undefined): boolean {
  return proof?.state === "failed" || proof?.state === "overdue";
}

/** One line about the switch's trial of itself. */
export function describeSelfProof({ state, age_seconds, last }: SelfProofHealth): string {
  if (state === "off") return "off (scram.self_proof_minutes is 0)";
  if (last === null)
    return state === "overdue" ? "OVERDUE: none was made yet" : "none was made yet";
  const took = last.t_reaped_ms === null ? "not verified dead" : `${last.t_reaped_ms} ms`;
  const found = `${took}, ${last.survivors} survivors, ${last.rung}, ${last.backend}`;
  const when = `${age_seconds} s ago (${found})`;
  if (state === "failed") return `FAILED ${when}: ${last.failure}; try: sovereign scram drill`;
  return state === "overdue" ? `OVERDUE: the last one ${last.outcome} ${when}` : `passed ${when}`;
}

import { SovereignError } from "@sovereign/core";
import type { WorkOwner } from "../scram/index.ts";
import type { Installation } from "./installation.ts";

/**
 * What is gone on with while the kill switch is tripped would end for ever at its next action: so it
 * is not begun, and stays as it is.
 *
 * @throws ERR_SCRAM_TRIPPED, ERR_SCRAM_UNREADABLE
 */
export function requireArmed({ scram }: Pick<Installation, "scram">, owner: WorkOwner): void {
  const gate = scram.preflight(owner);
  if (gate.armed) return;
  const text = `The kill switch is ${gate.reason}. Run ${owner.run_id} goes on when it is reset.`;
  throw new SovereignError(gate.code, text, { runId: owner.run_id });
}

import { isSovereignError, type ScramState } from "@sovereign/core";
import type { LeaseHealth } from "../../installation/index.ts";
import type { RunnerHealth, SelfProofHealth } from "./scram-reports.ts";

/** One line about processes that live under no sentinel that answers. */
export function describeUnanswered(living: number): string {
  return `NONE ANSWERS, and ${living} processes of this installation LIVE; to kill them type: scram`;
}

const UNHEARD =
  "the other machines' orders are not read here, so nothing runs: look whether the database can be reached, and at the process that runs sovereign nodes watch or scram serve";

export interface SwitchStatus {
  readonly state: ScramState;
  readonly stops: readonly { readonly reason: string }[];
  /** Why everything is stopped although no stop that is known says so. */
  readonly trouble?: string | null;
  /** False where the latch is there and cannot be read. */
  readonly readable?: boolean;
  readonly lease?: LeaseHealth | null;
  readonly living?: number;
  readonly selfProof?: SelfProofHealth | null;
}

/** What a monitor asks. A state that cannot be had is reported as one in which nothing runs. */
export async function healthOf(
  status: () => Promise<SwitchStatus>,
  refused: string | null,
): Promise<RunnerHealth> {
  try {
    const found = await status();
    const { state, lease = null, selfProof = null } = found;
    const armed = state === "ARMED";
    const reason = haltedBy(found) ?? refused;
    return {
      runner_status: armed && reason === null ? "HEALTHY" : "HALTED",
      scram_state: state,
      scram_armed: armed,
      scram_active: state === "ACTIVATING" || state === "EXECUTING",
      scram_complete: state === "COMPLETE",
      reason,
      lease,
      self_proof: selfProof,
    };
  } catch (error) {
    return {
      runner_status: "UNAVAILABLE",
      scram_state: "UNKNOWN",
      scram_armed: false,
      scram_active: false,
      scram_complete: false,
      reason: isSovereignError(error) ? error.message : "the switch's state cannot be had",
      lease: null,
      self_proof: null,
    };
  }
}

/** Why work may not run, or should not; null where nothing is known against it. */
function haltedBy(found: SwitchStatus): string | null {
  const { stops, lease, living = 0, trouble = null, readable = true } = found;
  const last = stops.at(-1);
  if (last !== undefined) return last.reason;
  if (trouble !== null) return trouble;
  if (!readable) return "the latch cannot be read: everything is stopped";
  if (living > 0) return `sentinel: ${describeUnanswered(living)}`;
  return lease?.state === "ended" ? UNHEARD : null;
}

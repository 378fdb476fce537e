import type { ScramState } from "@sovereign/core";
import type { LeaseHealth } from "../../installation/index.ts";
import type { SelfProofHealth } from "./scram-reports.ts";

/** One line about processes that live under no sentinel that answers. */
export function describeUnanswered(living: number): string {
  return `NONE ANSWERS, and ${living} processes of this installation LIVE; to kill them type: scram`;
}

const UNHEARD =
  "the other machines' orders are not read here, so nothing runs: look whether the database can be reached, and at the process that runs sovereign nodes watch or scram serve";

export interface SwitchStatus {
  readonly state: ScramState;
  readonly stops: readonly { readonly reason: string }[];
  readonly lease?: LeaseHealth | null;
  readonly living?: number;
  readonly selfProof?: SelfProofHealth | null;
}

/** Why work may not run, or should not; null where nothing is known against it. */
export function haltedBy({ stops, lease, living = 0 }: SwitchStatus): string | null {
  const last = stops.at(-1);
  if (last !== undefined) return last.reason;
  if (living > 0) return `sentinel: ${describeUnanswered(living)}`;
  return lease?.state === "ended" ? UNHEARD : null;
}

import type { ScramInvariant } from "@sovereign/core";

/** What one activation left behind, as measured. */
export interface ActivationFacts {
  /** Paths whose gate was opened after the latch was there. */
  readonly admittedAfterLatch: number;
  /** From the order to verified death; null when not all were dead at the deadline. */
  readonly terminationMs: number | null;
  readonly maxTerminationMs: number;
  /** Two distinct keys, an operator's and an architect's, authorised it. */
  readonly dualKey: boolean;
  /** A hardware watchdog is held. */
  readonly watchdog: boolean;
  /** The journal holds together, and the activation is in it. */
  readonly recorded: boolean;
  /** Nothing that was to be stopped lives. */
  readonly allDead: boolean;
  /** Living paths that were not on the list. */
  readonly unregistered: number;
  /** The immutable settings are what the law says, and the latch is in force. */
  readonly lawInForce: boolean;
}

interface InvariantRow {
  readonly id: ScramInvariant;
  readonly name: string;
  /** What it means that it does not hold, for who reads of it. */
  readonly broken: string;
  /** Where it is no fault that it does not hold, in a few words. */
  readonly expected?: string;
  readonly enforcement: "HARD" | "SOFT";
  readonly violation:
    | "TERMINATE"
    | "LOG_AND_TERMINATE"
    | "TERMINATE_WITH_AUDIT"
    | "LOG_AND_CONTINUE";
  readonly holds: (facts: ActivationFacts) => boolean;
}

/** The kill switch's invariants, as its specification numbers them. */
export const SCRAM_INVARIANTS: readonly InvariantRow[] = [
  {
    id: "INV-SYS-002",
    name: "no check of the kill switch is bypassed",
    broken: "a start gate was opened although a stop covered the path: report this defect",
    enforcement: "HARD",
    violation: "TERMINATE",
    holds: (facts) => facts.admittedAfterLatch === 0,
  },
  {
    id: "INV-SCRAM-001",
    name: "verified death within the deadline",
    broken: "not everything was verified dead within the deadline",
    enforcement: "HARD",
    violation: "LOG_AND_TERMINATE",
    holds: ({ terminationMs, maxTerminationMs }) =>
      terminationMs !== null && terminationMs <= maxTerminationMs,
  },
  {
    id: "INV-SCRAM-002",
    name: "two keys authorise",
    broken: "not two keys authorised this stop; it stopped all the same",
    enforcement: "HARD",
    violation: "TERMINATE_WITH_AUDIT",
    holds: (facts) => facts.dualKey,
  },
  {
    id: "INV-SCRAM-003",
    name: "bound to hardware",
    broken:
      "no hardware watchdog is held. The stop is complete without one; this is expected unless scram.hardware_watchdog names one in config.yaml",
    expected: "expected where no hardware watchdog is set",
    enforcement: "SOFT",
    violation: "LOG_AND_CONTINUE",
    holds: (facts) => facts.watchdog,
  },
  {
    id: "INV-SCRAM-004",
    name: "recorded, and the record is never rewritten",
    broken: "the stop could not be recorded; look at the disk and its rights",
    enforcement: "HARD",
    violation: "TERMINATE",
    holds: (facts) => facts.recorded,
  },
  {
    id: "INV-SCRAM-005",
    name: "no failure leaves anything running",
    broken: "something still lives; it is named above",
    enforcement: "HARD",
    violation: "TERMINATE",
    holds: (facts) => facts.allDead,
  },
  {
    id: "INV-SCRAM-006",
    name: "every execution path is on the list",
    broken: "processes of a path were found that is on no list",
    enforcement: "SOFT",
    violation: "LOG_AND_CONTINUE",
    holds: (facts) => facts.unregistered === 0,
  },
  {
    id: "INV-GOV-003",
    name: "the law's settings are in force",
    broken: "the settings that cannot be weakened, or the latch, are not in force",
    enforcement: "HARD",
    violation: "TERMINATE",
    holds: (facts) => facts.lawInForce,
  },
];

/** Evaluate all invariants; each ends in exactly one of `passed` and `failed`. */
export function checkInvariants(facts: ActivationFacts): {
  checked: ScramInvariant[];
  passed: ScramInvariant[];
  failed: ScramInvariant[];
} {
  const holding = SCRAM_INVARIANTS.map((row) => ({ id: row.id, holds: row.holds(facts) }));
  return {
    checked: holding.map(({ id }) => id),
    passed: holding.filter(({ holds }) => holds).map(({ id }) => id),
    failed: holding.filter(({ holds }) => !holds).map(({ id }) => id),
  };
}

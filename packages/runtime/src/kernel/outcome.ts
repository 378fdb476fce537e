import type { ArtifactRef, ErrorCode, JsonValue, PolicyDecision, Usage } from "@sovereign/core";
import type { LeftOutApproval } from "./authorization.ts";

/** What every exit of the kernel says. `entry` is the ledger index of its record, null when none. */
interface Exit {
  readonly actionDigest: string;
  readonly entryIndex: number | null;
}

/** An exit that is a refusal: the effect never ran, and the ledger says so. */
interface Refusal extends Exit {
  readonly code: ErrorCode;
  readonly reason: string;
}

/** The effect ran, ended well, and its outcome is durable. */
export interface Completed extends Exit {
  readonly status: "COMPLETED";
  readonly output: JsonValue;
  readonly artifacts: readonly ArtifactRef[];
  readonly usage: Usage;
}

/** Stage 1: the system is not armed. */
export interface ScramAbort extends Refusal {
  readonly status: "SCRAM_ABORT";
}

/** Stage 2: policy said no. */
export interface Denied extends Refusal {
  readonly status: "DENIED";
  readonly decision: PolicyDecision;
}

/** Stage 3: policy asks for approvals that are not there yet. */
export interface Pending extends Refusal {
  readonly status: "PENDING";
  readonly decision: PolicyDecision;
  readonly contextDigest: string;
  readonly approvedBy: readonly string[];
  /** Approvals that came and do not count, by their number from 1, and why. */
  readonly leftOut: readonly LeftOutApproval[];
}

/** Stage 4: a signature, a nonce or a digest is not good for exactly this. */
export interface Blocked extends Refusal {
  readonly status: "BLOCKED";
}

/**
 * Stage 5 or 7: the ledger could not make the record durable.
 * With `effectRan`, the effect ran and its outcome is unknown to the ledger: the step is repeated
 * under the same idempotency key.
 */
export interface Unavailable extends Refusal {
  readonly status: "UNAVAILABLE";
  readonly effectRan: boolean;
}

/** Stage 6: the effect was killed by a limit, a cancel or a SCRAM. */
export interface Killed extends Refusal {
  readonly status: "KILLED";
}

/** Stage 6: the effect ran and failed. */
export interface Failed extends Refusal {
  readonly status: "FAILED";
}

/** Every way in which `kernel.execute` ends. */
export type Outcome =
  | Completed
  | ScramAbort
  | Denied
  | Pending
  | Blocked
  | Unavailable
  | Killed
  | Failed;

export type OutcomeStatus = Outcome["status"];

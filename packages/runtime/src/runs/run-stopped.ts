import { type ErrorCode, errorRow } from "@sovereign/core";
import type { Completed, Outcome } from "../kernel/index.ts";

/** Why a run stopped: the outcome that was not COMPLETED. */
export class RunStopped extends Error {
  override readonly name = "RunStopped";
  readonly stepId: string;
  readonly outcome: Exclude<Outcome, Completed>;
  readonly #isLast: boolean;

  /** @param isLast true where the step has this end for good, whatever it was that stopped it */
  constructor(stepId: string, outcome: Exclude<Outcome, Completed>, isLast = false) {
    super(`${stepId}: ${outcome.status}: ${outcome.reason}`);
    this.stepId = stepId;
    this.outcome = outcome;
    this.#isLast = isLast;
  }

  /** True where the run may go on later: what stopped it is nothing of its own. */
  get passes(): boolean {
    if (this.#isLast) return false;
    return this.outcome.status === "PENDING" || isPassing(this.outcome.code);
  }
}

/** Nobody stopped anything: who would have to allow it cannot be asked now. */
const UNHEARD: readonly ErrorCode[] = ["ERR_SCRAM_SENTINEL_LOST", "ERR_SCRAM_LEASE"];

/** True for what ends no run: something that it needs is not there now. */
export function isPassing(code: ErrorCode): boolean {
  return errorRow(code).kind === "transient" || UNHEARD.includes(code);
}

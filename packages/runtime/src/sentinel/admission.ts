import { SovereignError } from "@sovereign/core";
import type { WorkOwner } from "../scram/index.ts";
import type { LeaseGuard } from "./lease-guard.ts";
import type { Refusal } from "./path-keeper.ts";
import type { StopBook } from "./stops-in-force.ts";

/** Whether work may begin: nothing that covers it is stopped, and other machines are heard. */
export class Admission {
  readonly #stops: StopBook;
  readonly #lease: () => Pick<LeaseGuard, "refusal">;

  constructor(stops: StopBook, lease: () => Pick<LeaseGuard, "refusal">) {
    this.#stops = stops;
    this.#lease = lease;
  }

  /** Null when work of this owner may begin, else why not. */
  refusal(owner: WorkOwner): Refusal | null {
    const stop = this.#stops.refusal(owner);
    if (stop !== null) {
      return { code: "ERR_SCRAM_TRIPPED", reason: `The kill switch is ${stop}` };
    }
    const { refusal } = this.#lease();
    if (refusal === null) return null;
    return { code: "ERR_SCRAM_LEASE", reason: `The kill switch is ${refusal}` };
  }

  /** @throws ERR_SCRAM_TRIPPED, ERR_SCRAM_LEASE */
  require(owner: WorkOwner): void {
    const refusal = this.refusal(owner);
    if (refusal !== null) throw new SovereignError(refusal.code, `${refusal.reason}.`);
  }
}

import { type JsonObject, type JsonValue, SovereignError } from "@sovereign/core";
import type { EnvelopeStore } from "../scram/index.ts";
import type { OrderDesk } from "./order-desk.ts";
import type { StopBook } from "./stops-in-force.ts";

export interface ResetDeskOptions {
  readonly desk: OrderDesk;
  readonly stops: StopBook;
  readonly envelopes: EnvelopeStore;
  /** How many stops are being executed. */
  readonly running: () => number;
  /** How many processes of ours still live. */
  readonly living: () => number;
  readonly log: (event: string, data: JsonObject) => void;
  readonly refused: (code: string, reason: string) => void;
}

/** Lifts stops, twice: authorised, which is recorded and goes into the ledger, and then carried out. */
export class ResetDesk {
  readonly #options: ResetDeskOptions;
  #authorized: string | null = null;

  constructor(options: ResetDeskOptions) {
    this.#options = options;
  }

  /** @returns true when the stops were lifted, false when that was authorised and recorded */
  reset(value: JsonValue, commit: boolean): boolean {
    const { desk, stops, envelopes: store, log } = this.#options;
    const digest = JSON.stringify(value);
    const { envelope, reset } = desk.reset(value);
    const open = stops.resettable();
    if (open.length === 0) {
      throw new SovereignError("ERR_SCRAM_NOT_TRIPPED", "The kill switch is not tripped.");
    }
    this.#refuse(reset.event_ids, open, commit && this.#authorized !== digest);
    const { reset_id, event_ids, statement, nonce } = reset;
    const envelopes = { reset: store.put(envelope) };
    if (!commit) {
      this.#authorized = digest;
      log("reset.authorized", { reset_id, event_ids, statement, envelopes });
      return false;
    }
    // Recorded first: a reset that is not recorded did not happen.
    log("scram.reset", { reset_id, event_ids, statement, nonce, envelopes });
    desk.use(nonce);
    this.#authorized = null;
    stops.lift(event_ids);
    stops.settle();
    return true;
  }

  #refuse(wanted: readonly string[], open: readonly string[], unknown: boolean): void {
    const { stops, running, living, refused } = this.#options;
    const stranger = wanted.find((id) => !open.includes(id));
    const alive = stops.everythingStopped ? living() : 0;
    let why: string | null = null;
    if (running() > 0) why = "a stop is being executed";
    else if (unknown) why = "it was not authorised and recorded first";
    else if (stranger !== undefined) why = `${stranger} is not in force`;
    else if (alive > 0) why = `${alive} processes still live`;
    if (why === null) return;
    refused("ERR_SCRAM_RESET_REFUSED", why);
    throw new SovereignError("ERR_SCRAM_RESET_REFUSED", `The reset is refused: ${why}.`);
  }
}

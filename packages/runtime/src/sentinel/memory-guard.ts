import type { JsonObject } from "@sovereign/core";
import type { Clock } from "../system/index.ts";
import type { Journal } from "../scram/index.ts";
import { BoundedRecord } from "./bounded-journal.ts";
import type { StopBook } from "./stops-in-force.ts";

export interface MemoryGuardOptions {
  readonly stops: StopBook;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: (event: string, data: JsonObject) => void;
  /** Stop everything: what is remembered was changed. */
  readonly stop: (why: string) => Promise<void>;
}

/** Watches over what a living sentinel remembers: nobody else changes its latch or its journal. */
export class MemoryGuard {
  readonly #options: MemoryGuardOptions;
  readonly #noted: BoundedRecord;
  /** Another's hand was seen in the journal, and everything stopped for it. */
  #disturbed = false;

  constructor(options: MemoryGuardOptions) {
    this.#options = options;
    this.#noted = new BoundedRecord(options.clock, options.log);
  }

  /** A latch that another set is obeyed; one that another removed is set again, and that is recorded. */
  async lookAtLatch(): Promise<void> {
    const { stops, stop } = this.#options;
    const why = stops.strange();
    if (why !== null) return stop(why);
    const lost = stops.relatch().map(({ event_id }) => event_id);
    if (lost.length === 0) return;
    this.#noted.note("latch.restored", { event_ids: lost });
    stops.settle();
  }

  async lookAtJournal(): Promise<void> {
    if (this.#disturbed || this.#options.journal.untouched) return;
    this.#disturbed = true;
    await this.#options.stop("another writes to the journal, or took it away");
  }
}

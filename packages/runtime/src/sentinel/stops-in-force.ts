import type { ScramState } from "@sovereign/core";
import {
  type Journal,
  type LatchedStop,
  type ScramLatch,
  scopeCovers,
  type WorkOwner,
  journalStops,
  openEvents,
  stateOfStops,
} from "../scram/index.ts";

/**
 * The stops in force: those of the latch, and those that we announced and that the latch may have
 * failed to hold.
 */
export class StopBook {
  readonly #latch: ScramLatch;
  readonly #journal: Journal;
  #stops: LatchedStop[] = [];
  /** An unreadable latch was seen, and obeyed. */
  #unreadable = false;

  constructor(latch: ScramLatch, journal: Journal) {
    this.#latch = latch;
    this.#journal = journal;
  }

  add(stop: LatchedStop): void {
    if (!this.#stops.some(({ event_id }) => event_id === stop.event_id)) this.#stops.push(stop);
  }

  /** Null when work of this owner may run, else why not. */
  refusal(owner: WorkOwner): string | null {
    if (this.#stops.some(({ scope }) => scopeCovers(scope, owner))) return "tripped";
    const gate = this.#latch.preflight(owner);
    return gate.armed ? null : gate.reason;
  }

  /** Null when the latch is there and cannot be read: then everything is stopped. */
  inForce(): LatchedStop[] | null {
    const status = this.#latch.status();
    if (status.state === "TRIPPED" && status.stops === null) return null;
    const latched = status.state === "TRIPPED" ? (status.stops ?? []) : [];
    const ids = new Set(latched.map(({ event_id }) => event_id));
    return [...latched, ...this.#stops.filter(({ event_id }) => !ids.has(event_id))];
  }

  get everythingStopped(): boolean {
    const stops = this.inForce();
    return stops === null || stops.some(({ scope }) => scope.kind === "all");
  }

  /** True while a stop is known to us alone: whoever knows it must not leave. */
  get unlatched(): boolean {
    const status = this.#latch.status();
    const latched = status.state === "TRIPPED" ? status.stops : [];
    if (latched === null) return false;
    const ids = new Set(latched.map(({ event_id }) => event_id));
    return this.#stops.some(({ event_id }) => !ids.has(event_id));
  }

  /**
   * Put back into the latch what the journal holds and the latch does not: the journal is the truth,
   * and whoever removed or changed the latch lifted nothing.
   *
   * @returns those that were put back
   */
  restore(): LatchedStop[] {
    return this.#latchAgain(journalStops(this.#journal.lines));
  }

  /** The same for the stops that we know: somebody took the latch away while we were here. */
  relatch(): LatchedStop[] {
    return this.#stops.length === 0 ? [] : this.#latchAgain(this.#stops);
  }

  #latchAgain(stops: readonly LatchedStop[]): LatchedStop[] {
    for (const stop of stops) this.add(stop);
    const status = this.#latch.status();
    const latched = status.state === "TRIPPED" ? status.stops : [];
    // One that cannot be read covers everything.
    if (latched === null) return [];
    const ids = new Set(latched.map(({ event_id }) => event_id));
    const missing = stops.filter(({ event_id }) => !ids.has(event_id));
    for (const stop of missing) {
      try {
        this.#latch.trip(stop);
      } catch {
        // It is in force by what we know, and tried again.
      }
    }
    return missing;
  }

  /**
   * Say that every stop that was given is durable in the latch and in the journal, where that is so.
   * Until then its proof is missing, and whoever starts without it has everything stopped.
   */
  settle(): void {
    const { lines, head } = this.#journal;
    if (this.unlatched || this.interrupted().length > 0 || this.inForce() === null) return;
    const settled = this.#latch.settled;
    if (settled?.lines === lines.length && settled.head === head) return;
    try {
      this.#latch.sync();
      this.#latch.settle({ lines: lines.length, head });
    } catch {
      // Then it is not proved, which stops everything at the next start: in doubt, that is right.
    }
  }

  state(waiting: boolean): ScramState {
    const stops = this.inForce();
    if (stops?.length === 0 && waiting) return "ACTIVATING";
    return stateOfStops(stops, this.#journal.lines);
  }

  /** Stops of the latch that have no record: a sentinel died while it carried them out. */
  interrupted(): LatchedStop[] {
    const recorded = new Set(openEvents(this.#journal.lines).map(({ event_id }) => event_id));
    return (this.inForce() ?? []).filter(({ event_id }) => !recorded.has(event_id));
  }

  /**
   * What somebody else did to the latch since the last look: a reason to stop everything.
   * @returns why, once for each; null when nothing happened
   */
  strange(): string | null {
    if (this.#latch.preflight().armed) return null;
    const status = this.#latch.status();
    const latched = status.state === "TRIPPED" ? status.stops : [];
    if (latched === null) {
      if (this.#unreadable) return null;
      this.#unreadable = true;
      return "the latch cannot be read";
    }
    const known = new Set(this.#stops.map(({ event_id }) => event_id));
    const foreign = latched.filter(({ event_id }) => !known.has(event_id));
    for (const stop of foreign) this.#stops.push(stop);
    return foreign.length === 0 ? null : "the latch was set by another";
  }

  /** What may be lifted: the stops in force and, where the latch is unreadable, those recorded. */
  resettable(): string[] {
    const stops = this.inForce();
    if (stops !== null) return stops.map(({ event_id }) => event_id);
    const known = [...journalStops(this.#journal.lines), ...this.#stops];
    const ids = [...new Set(known.map(({ event_id }) => event_id))];
    return ids.length > 0 ? ids : [`SCRAM-${"0".repeat(20)}`];
  }

  /** @throws ERR_SCRAM_UNWRITABLE */
  lift(eventIds: readonly string[]): void {
    this.#latch.lift(eventIds);
    this.#unreadable = false;
    this.#stops = this.#stops.filter(({ event_id }) => !eventIds.includes(event_id));
  }
}

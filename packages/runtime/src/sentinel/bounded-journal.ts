import type { JsonObject } from "@sovereign/core";
import type { Clock } from "../system/index.ts";

const FIRST = 100;
const THEN_EVERY_MS = 3_600_000;

/**
 * A record of what others can make happen as often as they like: the first hundred times each, and
 * then at most once an hour with the number of those left out. So a flood can neither fill the disk
 * nor make us blind for ever.
 */
export class BoundedRecord {
  readonly #clock: Clock;
  readonly #write: (event: string, data: JsonObject) => void;
  #written = 0;
  #leftOut = 0;
  #last = 0;

  constructor(clock: Clock, write: (event: string, data: JsonObject) => void) {
    this.#clock = clock;
    this.#write = write;
  }

  /** @param times how often it happened since it was told last */
  note(event: string, data: JsonObject, times = 1): void {
    const now = this.#clock.monotonicMs();
    if (this.#written >= FIRST && now - this.#last < THEN_EVERY_MS) {
      this.#leftOut += times;
      return;
    }
    const leftOut = this.#leftOut + times - 1;
    this.#written += 1;
    this.#last = now;
    this.#leftOut = 0;
    try {
      this.#write(event, leftOut === 0 ? data : { ...data, left_out: leftOut });
    } catch {
      // Nothing was done that needs a record.
    }
  }
}

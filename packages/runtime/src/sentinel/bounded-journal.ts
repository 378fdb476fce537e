import type { JsonObject } from "@sovereign/core";
import { type Clock, FloodCount } from "../system/index.ts";

const FIRST = 100;

/** A record of what others can make happen as often as they like. @see FloodCount */
export class BoundedRecord {
  readonly #count: FloodCount;
  readonly #write: (event: string, data: JsonObject) => void;

  constructor(clock: Clock, write: (event: string, data: JsonObject) => void) {
    this.#count = new FloodCount(clock, FIRST);
    this.#write = write;
  }

  /** @param times how often it happened since it was told last */
  note(event: string, data: JsonObject, times = 1): void {
    const leftOut = this.#count.count(times);
    if (leftOut === null) return;
    try {
      this.#write(event, leftOut === 0 ? data : { ...data, left_out: leftOut });
    } catch {
      // Nothing was done that needs a record.
    }
  }
}

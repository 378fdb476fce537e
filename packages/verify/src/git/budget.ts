import { tooMuch } from "./git-problem.ts";

/** The largest object that is read. */
export const OBJECT_BYTES_MAX = 128 * 1024 * 1024;
/** How much may be unpacked altogether: a chain of deltas can ask for any amount. */
const ALL_BYTES_MAX = 8 * 1024 * 1024 * 1024;

/** Counts what was unpacked. */
export class Budget {
  #left: number;

  constructor(bytesMax: number = ALL_BYTES_MAX) {
    this.#left = bytesMax;
  }

  /** @throws ERR_GIT_OBJECT_LIMIT */
  spend(bytes: number): void {
    if (bytes > OBJECT_BYTES_MAX) {
      throw tooMuch(`an object of ${bytes} bytes, more than ${OBJECT_BYTES_MAX}`);
    }
    this.#left -= bytes;
    if (this.#left < 0) throw tooMuch("it has to be unpacked to more than 8 GiB");
  }
}

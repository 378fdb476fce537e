import { processorsAreCrowded, sightOf } from "../process/index.ts";

/** How often one who is watched says that it is alive, and how often the watcher wakes up. */
export const BEAT_MS = 50;

/** Points of a wake-up without a word; {@link WEDGED} of them are a wedge. */
const STUCK = 400;
const SLOW_DISK = 200;
const STARVED = 50;
const RUNNING = 350;
const WEDGED = 2000;
/** Having run so long in one interval it had the processor for itself. */
const RAN_MAX_MS = 50;
const RAN_MIN_MS = 0.1;

/**
 * Judges whether a process that says nothing is wedged, or has only had no chance to speak.
 *
 * Counted are the watcher's own wake-ups, not time: a watcher that was not scheduled itself blames
 * nobody. A process that is stopped or asleep in one call is wedged after 5 of them, one in
 * uninterruptible sleep (a slow disk) after 10, one that waits for a processor after 40, and one that
 * runs and is silent after 5 to 40, by how much it ran. Where more processes want to run than the
 * processors have room for, uninterruptible sleep is a wait for a processor, too: whoever holds the
 * kernel's lock has none. The dead-man counts in the same way.
 */
export class Silence {
  readonly #pid: number;
  readonly #limit: number;
  #points = 0;
  #ranBefore: number | null = null;

  /** @param patience how many times as long as usual it is waited */
  constructor(pid: number, patience = 1) {
    this.#pid = pid;
    this.#limit = WEDGED * patience;
  }

  /** It spoke. */
  heard(): void {
    this.#points = 0;
    this.#ranBefore = null;
  }

  /** One wake-up without a word. @returns true once it is wedged, or gone */
  missed(): boolean {
    const sight = sightOf(this.#pid);
    if (sight === null) return true;
    const { state, ranMs } = sight;
    const ran = this.#ranBefore === null ? 0 : ranMs - this.#ranBefore;
    this.#ranBefore = ranMs;
    this.#points += pointsOf(state, ran);
    return this.#points >= this.#limit;
  }
}

function pointsOf(state: string, ranMs: number): number {
  if (state === "D") return processorsAreCrowded() ? STARVED : SLOW_DISK;
  if (state !== "R" && state !== "S") return STUCK;
  if (ranMs >= RAN_MIN_MS) return STARVED + (RUNNING * Math.min(ranMs, RAN_MAX_MS)) / RAN_MAX_MS;
  return state === "R" ? STARVED : STUCK;
}

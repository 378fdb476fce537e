import { type Crowd, sightOf } from "../process/index.ts";

/** How often one who is watched says that it is alive, and how often the watcher wakes up. */
export const BEAT_MS = 50;

/** Points of a wake-up without a word; `wedged` of them are a wedge. The dead-man counts by these. */
export const POINTS = {
  stuck: 400,
  slowDisk: 200,
  starved: 50,
  running: 350,
  wedged: 2000,
} as const;
/** Having run so long in one interval it had the processor for itself. */
export const RAN_MAX_MS = 50;
export const RAN_MIN_MS = 0.1;

/**
 * Judges whether a process that says nothing is wedged, or has only had no chance to speak.
 *
 * Counted are the watcher's own wake-ups, not time: a watcher that was not scheduled itself blames
 * nobody. A process that is stopped or asleep in one call is wedged after 5 of them, one in
 * uninterruptible sleep (a slow disk) after 10, one that waits for a processor after 40, and one that
 * runs and is silent after 5 to 40, by how much it ran. Where other work than our paths crowds the
 * processors ({@link Crowd}), uninterruptible sleep is a wait for a processor, too: whoever holds the
 * kernel's lock has none. The dead-man counts in the same way.
 */
export class Silence {
  readonly #pid: number;
  readonly #crowd: Crowd;
  readonly #limit: number;
  #points = 0;
  #ranBefore: number | null = null;

  /** @param patience how many times as long as usual it is waited */
  constructor(pid: number, crowd: Crowd, patience = 1) {
    this.#pid = pid;
    this.#crowd = crowd;
    this.#limit = POINTS.wedged * patience;
  }

  /** It spoke. */
  heard(): void {
    this.#points = 0;
    this.#ranBefore = null;
    this.#crowd.forget();
  }

  /** One wake-up without a word. @returns true once it is wedged, or gone */
  missed(): boolean {
    const sight = sightOf(this.#pid);
    if (sight === null) return true;
    const { state, ranMs } = sight;
    const ran = this.#ranBefore === null ? 0 : ranMs - this.#ranBefore;
    this.#ranBefore = ranMs;
    const waits = state === "D" && this.#crowd.isOfOthers();
    this.#points += waits ? POINTS.starved : pointsOf(state, ran);
    return this.#points >= this.#limit;
  }
}

function pointsOf(state: string, ranMs: number): number {
  const { stuck, slowDisk, starved, running } = POINTS;
  if (state === "D") return slowDisk;
  if (state !== "R" && state !== "S") return stuck;
  if (ranMs >= RAN_MIN_MS) return starved + (running * Math.min(ranMs, RAN_MAX_MS)) / RAN_MAX_MS;
  return state === "R" ? starved : stuck;
}

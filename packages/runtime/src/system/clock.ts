/** Time, injected: nothing else in the product reads a clock. */
export interface Clock {
  /** The wall clock. It may jump; it is evidence, never a measure. */
  now(): Date;
  /**
   * Milliseconds since some fixed instant, the same for all processes of a machine; it never goes
   * back.
   */
  monotonicMs(): number;
}

/** Frozen: whoever embeds us holds it, and every window of time is judged by it. */
export const systemClock: Clock = Object.freeze({
  now: () => new Date(),
  monotonicMs: () => {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1000 + nanoseconds / 1e6;
  },
});

/**
 * The wall clock as the formats write it: UTC with milliseconds. A clock of somebody else's may hand
 * out what only looks like a date, so that its instant alone is taken.
 */
export function timestampOf(clock: Clock): string {
  return new Date(clock.now().getTime()).toISOString();
}

/** `timestamp` moved by some milliseconds. */
export function shiftTimestamp(timestamp: string, ms: number): string {
  return new Date(Date.parse(timestamp) + ms).toISOString();
}

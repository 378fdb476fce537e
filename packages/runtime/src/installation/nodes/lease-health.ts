import type { JsonObject } from "@sovereign/core";

import { isShared, loadSwitchConfig } from "../../home/index.ts";

/**
 * Whether a node hears of the others; null where there are none to hear of.
 *
 * @param home the data folder
 * @param sentinel what the sentinel says of itself; null when none runs
 */
export function leaseHealth(home: string, sentinel: JsonObject | null): LeaseHealth | null {
  if (sentinel !== null) return leaseOfSentinel(sentinel);
  // A stop is told whatever stands in the place of the configuration: then the law's settings hold.
  const { lease_ms: ms } = loadSwitchConfig(home, () => undefined);
  if (ms === null || !isShared(home)) return null;
  return { ms, state: "unwatched", left_ms: 0, read_at: null, read_by: null };
}

/** As {@link leaseHealth}, where a sentinel answers. */
export function leaseOfSentinel(sentinel: Readonly<Record<string, unknown>>): LeaseHealth | null {
  const {
    lease_ms: ms,
    lease_left_ms: left,
    lease_read_at,
    lease_read_by,
    lease_readers,
  } = sentinel;
  if (typeof ms !== "number" || typeof left !== "number") return null;
  return {
    ms,
    // Where nobody reads any more, nothing is wrong: whoever starts work reads first.
    state: left > 0 ? "live" : lease_readers === 0 ? "unwatched" : "ended",
    left_ms: left,
    read_at: typeof lease_read_at === "string" ? lease_read_at : null,
    read_by: typeof lease_read_by === "number" ? lease_read_by : null,
  };
}

/** Whether this machine hears of the others of its installation, without which nothing runs here. */
export interface LeaseHealth {
  /** How long it is good after the log was last read to its end. */
  readonly ms: number;
  /** `ended`: who should read cannot. `unwatched`: nobody reads, so nothing is heard; and nothing runs. */
  readonly state: "live" | "ended" | "unwatched";
  readonly left_ms: number;
  /** When the reading that it is good from began, and the pid of who read; null before the first. */
  readonly read_at: string | null;
  readonly read_by: number | null;
}

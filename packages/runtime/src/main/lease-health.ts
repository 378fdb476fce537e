import type { JsonObject } from "@sovereign/core";
import type { LeaseHealth } from "../cli/index.ts";
import { loadConfig } from "./config.ts";
import { isShared } from "./nodes.ts";

/**
 * Whether a node hears of the others; null where there are none to hear of.
 *
 * @param home the data folder
 * @param sentinel what the sentinel says of itself; null when none runs
 */
export function leaseHealth(home: string, sentinel: JsonObject | null): LeaseHealth | null {
  if (sentinel !== null) return leaseOfSentinel(sentinel);
  const { lease_ms: ms } = loadConfig(home).scram;
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

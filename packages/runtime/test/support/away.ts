import { parseCanonicalJson, SovereignError } from "@sovereign/core";
import type { CommitItem } from "../../src/ledger/index.ts";
import type { MemoryStore } from "./memory-store.ts";

export function eventOf({ entries: [entry] }: CommitItem): string {
  const { event_type: event } = parseCanonicalJson(entry?.bytes ?? new Uint8Array()) as {
    event_type: string;
  };
  return event;
}

/**
 * The database is away for these events: once for each time that one is in the list.
 * @returns the list; what is in it still fails
 */
export function awayFor(store: MemoryStore, ...events: string[]): string[] {
  store.between = (item) => {
    const at = events.indexOf(eventOf(item));
    if (at < 0) return null;
    events.splice(at, 1);
    return Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", "gone"));
  };
  return events;
}

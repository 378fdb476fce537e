import { join } from "node:path";
import {
  digestOf,
  fields,
  formats,
  parseFormat,
  type ScramEvent,
  type ScramState,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { Journal, type JournalLine } from "./journal.ts";
import { type LatchedStop, ScramLatch } from "./latch.ts";
import { groupNameOf } from "./sentinel/names.ts";
import { findOurs } from "./termination.ts";

const eventIds = z.array(fields.scramEventId);

/** The recorded stops that no reset has lifted. */
export function openEvents(lines: readonly JournalLine[]): ScramEvent[] {
  const open = new Map<string, ScramEvent>();
  for (const { event, data } of lines) {
    if (event === "scram.executed") {
      const found = readEvent(data["event"]);
      open.set(found.event_id, found);
    }
    if (event === "scram.reset") {
      for (const id of parseFormat(eventIds, data["event_ids"], "reset")) open.delete(id);
    }
  }
  return [...open.values()];
}

/** An event is what its content hash says; the journal's last line has no successor to say so. */
function readEvent(value: unknown): ScramEvent {
  const event = parseFormat(formats.scramEvent, value, "scram event");
  const { content_hash, ...content } = event;
  if (digestOf(content) === content_hash) return event;
  const text = `The event ${event.event_id} is not what its content hash says.`;
  throw new SovereignError("ERR_SCRAM_JOURNAL_INVALID", text);
}

/**
 * The state that stops in force and their records make.
 * @param stops null when the latch is there and cannot be read
 */
export function stateOfStops(
  stops: readonly LatchedStop[] | null,
  lines: readonly JournalLine[],
): ScramState {
  if (stops === null) return "FAILED";
  if (stops.length === 0) return "ARMED";
  const events = new Map(openEvents(lines).map((event) => [event.event_id, event.scram_state]));
  return stops.every(({ event_id }) => events.get(event_id) === "COMPLETE") ? "COMPLETE" : "FAILED";
}

/** What can be told without a sentinel: from the latch and the journal. */
export function offlineStatus(folder: string): {
  state: ScramState;
  stops: LatchedStop[];
  readable: boolean;
} {
  const status = new ScramLatch(folder).status();
  const stops = status.state === "ARMED" ? [] : status.stops;
  const { lines } = Journal.open(join(folder, "journal.jsonl"));
  const state = stateOfStops(stops, lines);
  return { state, stops: [...(stops ?? [])], readable: stops !== null };
}

/**
 * How many processes of an installation live, by a look at the process table: paths, and the engine.
 * @param folder the kill switch's
 */
export function countLiving(folder: string): number {
  return findOurs({ name: groupNameOf(folder), paths: [], everything: true }).length;
}

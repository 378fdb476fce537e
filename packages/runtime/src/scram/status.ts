import { existsSync, lstatSync, readdirSync } from "node:fs";
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
import { kindAt } from "../system/index.ts";
import { Journal, type JournalLine } from "./journal.ts";
import { folderTrouble, type LatchedStop, MEND_FOLDER, ScramLatch } from "./latch.ts";
import { pendingStop } from "./pending.ts";
import { describeScope, scopeCovers, type WorkOwner } from "./scope.ts";
import { groupNamesOf } from "./names.ts";
import { findOurs } from "./termination.ts";

const eventIds = z.array(fields.scramEventId);
const ALL = { kind: "all" } as const;
// Whose work it stops is not always told: then everybody's.
const begun = z.looseObject({
  event_id: fields.scramEventId,
  scope: formats.scramScope.catch(ALL),
});
const repaired = z.looseObject({ event_id: fields.scramEventId });

/** A stop that the journal holds and no reset has lifted. */
interface OpenStop {
  readonly stop: LatchedStop;
  /** Null where it was begun, and not recorded to its end. */
  readonly event: ScramEvent | null;
}

/** The stops that the journal holds and no reset has lifted, whatever the latch says. */
function openStopsOf(lines: readonly JournalLine[]): OpenStop[] {
  const open = new Map<string, OpenStop>();
  for (const { event, data, at } of lines) {
    if (event === "scram.activated") {
      const { event_id, scope } = parseFormat(begun, data, "scram.activated");
      const stop = { event_id, scope, reason: "system_critical" as const, tripped_at: at };
      if (!open.has(event_id)) open.set(event_id, { stop, event: null });
    }
    if (event === "scram.executed") {
      const found = readEvent(data["event"]);
      const { event_id, reason } = found;
      const before = open.get(event_id)?.stop ?? { scope: ALL, tripped_at: at };
      open.set(event_id, { stop: { ...before, event_id, reason }, event: found });
    }
    if (event === "journal.repaired" || event === "journal.restored") {
      const { event_id } = parseFormat(repaired, data, event);
      const stop = { event_id, scope: ALL, reason: "system_critical" as const, tripped_at: at };
      open.set(event_id, { stop, event: null });
    }
    if (event === "scram.reset") {
      for (const id of parseFormat(eventIds, data["event_ids"], "reset")) open.delete(id);
    }
  }
  return [...open.values()];
}

/** The stops that the journal holds and no reset has lifted, as the latch would hold them. */
export function journalStops(lines: readonly JournalLine[]): LatchedStop[] {
  return openStopsOf(lines).map(({ stop }) => stop);
}

/** The recorded stops that no reset has lifted. */
export function openEvents(lines: readonly JournalLine[]): ScramEvent[] {
  return openStopsOf(lines).flatMap(({ event }) => (event === null ? [] : [event]));
}

/** An event is what its content hash says; the journal's last line has no successor to say so. */
function readEvent(value: unknown): ScramEvent {
  const event = parseFormat(formats.scramEvent, value, "scram event");
  const { content_hash, ...content } = event;
  if (digestOf(content) === content_hash) return event;
  const text = `The event ${event.event_id} is not what its content hash says.`;
  throw new SovereignError("ERR_SCRAM_JOURNAL_INVALID", text);
}

/** What only an earlier sentinel of the folder leaves behind. */
const TRACES = ["engine.log", "envelopes", "LATCH.spare"];

/**
 * Why it is not proved that the journal holds every stop that was given; null where it is. A folder
 * in which no sentinel ever was is proved; so is one of a version that left no proofs, once.
 */
export function doubtOf(folder: string, latch: ScramLatch, journal: Journal): string | null {
  const { settled } = latch;
  const { lines } = journal;
  if (settled !== null) {
    if (journal.holds(settled.lines, settled.head)) return null;
    return `the journal is not the one that had ${settled.lines} lines: it was set back or replaced`;
  }
  const stands = latch.everSettled ? "cannot be read" : "is missing";
  const promised = lines.some(({ data }) => data["settled"] !== undefined);
  if (promised || latch.everSettled) {
    return `${UNPROVED} ${stands}: a stop may have been lost`;
  }
  const trace =
    lines.length > 0 ? undefined : TRACES.find((name) => existsSync(join(folder, name)));
  return trace === undefined ? null : `the journal is missing, and there was one: see ${trace}`;
}

/**
 * The stops in force: those of the latch, and those that the journal holds.
 * @param latched null where the latch is there and cannot be read: then everything is stopped
 */
export function stopsInForce(
  latched: readonly LatchedStop[] | null,
  lines: readonly JournalLine[],
): LatchedStop[] | null {
  if (latched === null) return null;
  const ids = new Set(latched.map(({ event_id }) => event_id));
  return [...latched, ...journalStops(lines).filter(({ event_id }) => !ids.has(event_id))];
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

/**
 * Null when work of this owner may begin, else why not: one look at the latch and at the calls that
 * wait, before anything is started. A folder that was never used stops nothing.
 */
export function refusalAt(
  folder: string,
  owner: WorkOwner,
  signal?: string,
): { code: "ERR_SCRAM_TRIPPED" | "ERR_SCRAM_UNREADABLE"; reason: string } | null {
  if (kindAt(folder) === null) return null;
  const trouble = folderTrouble(folder);
  if (trouble !== null) {
    return { code: "ERR_SCRAM_UNREADABLE", reason: `not usable: ${trouble.slice(0, -1)}` };
  }
  const latch = new ScramLatch(folder);
  const gate = latch.preflight(owner);
  if (!gate.armed) {
    const code = gate.code === "ERR_SCRAM_TRIPPED" ? gate.code : "ERR_SCRAM_UNREADABLE";
    return { code, reason: gate.reason };
  }
  // The next sentinel would stop everything for it: so nothing is begun that would end at once.
  if (latch.everSettled && latch.settled === null) {
    return { code: "ERR_SCRAM_UNREADABLE", reason: `in doubt: ${UNPROVED} cannot be read` };
  }
  const called = pendingStop(folder, signal);
  return called === null ? null : { code: "ERR_SCRAM_TRIPPED", reason: calledBy(called) };
}

/**
 * {@link refusalAt}, and a look at the journal: a stop that it holds is in force although somebody
 * took its latch away. Where the journal is long, the sentinel says so that is started for the work,
 * before the work is admitted.
 */
export function refusalOfWork(folder: string, owner: WorkOwner): ReturnType<typeof refusalAt> {
  const refusal = refusalAt(folder, owner);
  if (refusal !== null) return refusal;
  const path = join(folder, "journal.jsonl");
  try {
    const size = lstatSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size > QUICK_BYTES) return null;
    const stop = journalStops(Journal.open(path).lines).find(({ scope }) =>
      scopeCovers(scope, owner),
    );
    if (stop === undefined) return null;
    const reason = `tripped for ${describeScope(stop.scope)}: ${stop.event_id}, whose latch was removed`;
    return { code: "ERR_SCRAM_TRIPPED", reason };
  } catch {
    const reason = `in doubt: ${path} cannot be read; to repair it type: sovereign scram repair`;
    return { code: "ERR_SCRAM_UNREADABLE", reason };
  }
}

/** A journal of so many bytes is read within some milliseconds. */
const QUICK_BYTES = 256 * 1024;
const UNPROVED = "the proof that every stop is in the journal";

/** The kill switch's state as its files tell it. */
export interface OfflineStatus {
  readonly state: ScramState;
  readonly stops: LatchedStop[];
  /** False when the latch is there and cannot be read: everything is stopped. */
  readonly readable: boolean;
  /** Why everything is stopped although no stop that is known says so; null where nothing is wrong. */
  readonly trouble: string | null;
}

function calledBy(name: string): string {
  return `a stop was called for (${name}), and the next sentinel carries it out before anything runs`;
}

/**
 * What can be told without a sentinel: from the latch, the journal and the calls that wait. Stopped in
 * doubt.
 *
 * @param signal the signal file's name
 */
export function offlineStatus(folder: string, signal?: string): OfflineStatus {
  const other = folderTrouble(folder);
  const lost = other === null ? emptyFolder(folder) : `${other} ${MEND_FOLDER}`;
  if (lost !== null) return { state: "FAILED", stops: [], readable: true, trouble: lost };
  const latch = new ScramLatch(folder);
  const status = latch.status();
  const latched = status.state === "ARMED" ? [] : status.stops;
  const readable = latched !== null;
  try {
    const journal = Journal.open(join(folder, "journal.jsonl"));
    const stops = stopsInForce(latched, journal.lines);
    const trouble = doubtOf(folder, latch, journal);
    const state = trouble === null ? stateOfStops(stops, journal.lines) : "FAILED";
    const called = pendingStop(folder, signal);
    if (called !== null && state === "ARMED") {
      return { state: "EXECUTING", stops: [], readable, trouble: calledBy(called) };
    }
    return { state, stops: stops ?? [], readable, trouble };
  } catch (error) {
    const trouble = error instanceof Error ? error.message : "the journal cannot be read";
    return { state: "FAILED", stops: [...(latched ?? [])], readable, trouble };
  }
}

/**
 * Nothing of ours is in it, and the ledger was used: then the folder was taken away or replaced, and
 * whether a stop was in it says only the ledger, which whoever starts work compares with.
 */
function emptyFolder(folder: string): string | null {
  const known = ["keys.json", "journal.jsonl"].some((name) => kindAt(join(folder, name)) !== null);
  if (known || !wasUsed(join(folder, "../ledger"))) return null;
  return `${folder} is missing or empty, and this installation was used: a stop may have been in it. Put it back; or type sovereign scram repair, which takes from the ledger what it has of it.`;
}

/** Whether a head of the installation's log was signed. */
function wasUsed(folder: string): boolean {
  try {
    return readdirSync(folder).some((name) => /^installation\.head\.(\d+\.)?json$/.test(name));
  } catch {
    // No folder, or none that we may read: nothing says that it was.
    return false;
  }
}

/**
 * How many processes of an installation live, by a look at the process table: paths, and the engine.
 * @param folder the kill switch's
 */
export function countLiving(folder: string): number {
  const names = groupNamesOf(folder);
  return names.flatMap((name) => findOurs({ name, paths: [], everything: true })).length;
}

import {
  accessSync,
  closeSync,
  constants,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
} from "node:fs";
import { join } from "node:path";
import {
  canonicalize,
  fields,
  formats,
  parseFormat,
  parseStrictJson,
  SovereignError,
  fixClass,
} from "@sovereign/core";
import { z } from "zod";
import { kindAt, ownsFile, readOwnFile, removeAt } from "../system/index.ts";
import type { ScramGate } from "../kernel/index.ts";
import { LatchRoom } from "./latch-room.ts";
import { describeScope, scopeCovers, type WorkOwner } from "./scope.ts";
import { type Settled, SettledMark } from "./settled.ts";

const ARMED = Object.freeze({ armed: true } as const);
const LATCH_FILE = "LATCH";
/** A thousand stops take a fifth of it. */
const LATCH_BYTES_MAX = 1024 * 1024;

const stop = z.strictObject({
  event_id: fields.scramEventId,
  scope: formats.scramScope,
  reason: formats.scramReason,
  tripped_at: fields.timestamp,
});
/** One stop that is in force. */
export type LatchedStop = z.infer<typeof stop>;

const latchRecord = z.strictObject({
  format: z.literal("sovereign.scram-latch"),
  schema_version: fields.schemaVersion,
  stops: z.array(stop).min(1).max(1000),
});

/** Armed: work may run. Tripped: none that a stop covers runs, across restarts. */
export type LatchStatus =
  | { readonly state: "ARMED" }
  /** `stops` is null when the latch is there and can not be read: then it covers everything. */
  | { readonly state: "TRIPPED"; readonly stops: readonly LatchedStop[] | null };

/**
 * The kill switch state where it is quick to look at: a file that exists or does not. The truth is
 * the journal's; whoever starts a sentinel, and whoever tells the state without one, compares.
 *
 * INVARIANT: when in doubt, stop. Only a clean "nothing stands there" in a folder that is there
 * counts as armed; every other answer of the file system counts as tripped.
 */
export class ScramLatch implements ScramGate {
  readonly path: string;
  readonly #folder: string;
  readonly #room: LatchRoom;
  readonly #mark: SettledMark;

  /**
   * @param folder the data folder's `scram/`; made with mode 0700 where it is missing
   * @throws ERR_SCRAM_UNREADABLE where something else stands there, ERR_SCRAM_UNWRITABLE
   */
  constructor(folder: string) {
    const trouble = folderTrouble(folder);
    if (trouble !== null) {
      throw new SovereignError("ERR_SCRAM_UNREADABLE", `${trouble} ${MEND_FOLDER}`, { folder });
    }
    this.#folder = folder;
    this.path = join(folder, LATCH_FILE);
    this.#room = new LatchRoom(folder, this.path);
    this.#mark = new SettledMark(folder);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw new SovereignError(
        "ERR_SCRAM_UNWRITABLE",
        `Cannot make the kill switch's folder ${folder}.`,
        { folder },
        cause,
      );
    }
    Object.freeze(this);
  }

  /** One look at the file system: about a microsecond, so it is taken before every action. */
  preflight(owner: WorkOwner | null = null): ReturnType<ScramGate["preflight"]> {
    try {
      // A latch that is missing because its whole folder is gone, or is a link, proves nothing.
      if (lstatSync(this.#folder, { throwIfNoEntry: false })?.isDirectory() === true) {
        // The file itself: a link to nothing stands there, too.
        const found = lstatSync(this.path, { throwIfNoEntry: false });
        return found === undefined ? ARMED : this.#covering(owner);
      }
    } catch {
      // Falls through: an unreadable state is a tripped one.
    }
    const reason = `cannot read the kill switch's state at ${this.path}`;
    return { armed: false, code: "ERR_SCRAM_UNREADABLE", reason };
  }

  /**
   * The same for one who is told by a living sentinel: it watches over the folder, so that one look
   * at the file is enough.
   */
  preflightWatched(owner: WorkOwner | null): ReturnType<ScramGate["preflight"]> {
    try {
      if (lstatSync(this.path, { throwIfNoEntry: false }) === undefined) return ARMED;
    } catch {
      // Falls through: the whole check says what is wrong.
    }
    return this.preflight(owner);
  }

  status(): LatchStatus {
    const gate = this.preflight();
    if (gate.armed) return { state: "ARMED" };
    return { state: "TRIPPED", stops: this.#read() };
  }

  /** Take room for latches in advance. Called while all is well; a failure is no harm. */
  reserve(): void {
    this.#room.reserve();
  }

  /** Up to where the journal holds every stop that was given; null where nothing proves that. */
  get settled(): Settled | null {
    return this.#mark.read();
  }

  /** Whether there ever was such a proof, or is something in its place. */
  get everSettled(): boolean {
    return this.#mark.stands;
  }

  /** Every stop in force is durable here and in the journal. @throws ERR_SCRAM_UNWRITABLE */
  settle(settled: Settled): void {
    this.#attempt(() => {
      this.#mark.settle(settled);
    });
  }

  /**
   * Trip. The stop is in force when this returns, and durable once {@link sync} returned. A stop
   * that is added to others leaves those as they are.
   *
   * @throws ERR_SCRAM_UNWRITABLE when it could not be written down; what is missing says then, to
   *   every later sentinel, that there was one
   */
  trip(added: LatchedStop): void {
    this.#mark.break();
    const status = this.status();
    // A latch that cannot be read covers everything already.
    if (status.state === "TRIPPED" && status.stops === null && kindAt(this.path) !== null) return;
    const stops = status.state === "ARMED" ? [] : (status.stops ?? []);
    const others = stops.filter(({ event_id }) => event_id !== added.event_id);
    this.#write([...others, added]);
  }

  /** Lift these stops; the others stay. Durable when this returns. @throws ERR_SCRAM_UNWRITABLE */
  lift(eventIds: readonly string[]): void {
    const left = (this.#read() ?? []).filter(({ event_id }) => !eventIds.includes(event_id));
    if (left.length > 0) this.#write(left);
    else
      this.#attempt(() => {
        removeAt(this.path);
      });
    this.sync();
    this.reserve();
  }

  /** Make what was written durable. @throws ERR_SCRAM_UNWRITABLE */
  sync(): void {
    this.#attempt(() => {
      if (ownsFile(this.path)) syncPath(this.path);
      syncPath(this.#folder);
    });
  }

  #covering(owner: WorkOwner | null): ReturnType<ScramGate["preflight"]> {
    const code = "ERR_SCRAM_TRIPPED";
    const stops = this.#read();
    if (stops === null) return { armed: false, code, reason: `tripped: see ${this.path}` };
    const found = stops.find(({ scope }) => owner === null || scopeCovers(scope, owner));
    if (found === undefined) return { armed: true };
    const reason = `tripped for ${describeScope(found.scope)}, ${found.reason}: ${found.event_id}`;
    return { armed: false, code, reason };
  }

  #write(stops: readonly LatchedStop[]): void {
    const format = "sovereign.scram-latch";
    const record = { format, schema_version: "1.0.0", stops: [...stops] };
    this.#attempt(() => {
      this.#room.write(`${canonicalize(record)}\n`);
    });
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : "unknown";
      throw new SovereignError(
        "ERR_SCRAM_UNWRITABLE",
        `Cannot write the latch ${this.path}: ${why}.`,
        { latch: this.path },
        cause,
      );
    }
  }

  /** What the latch says; its damage never makes the switch armed. */
  #read(): LatchedStop[] | null {
    try {
      const bytes = readOwnFile(this.path, LATCH_BYTES_MAX);
      if (bytes === null) return null;
      return parseFormat(latchRecord, parseStrictJson(bytes), "latch").stops;
    } catch {
      return null;
    }
  }
}

fixClass(ScramLatch);

/**
 * Why a kill switch's folder is none: a link leads to another folder, of which nobody knows whether a
 * stop is in it. Null where it is a folder, or where nothing is there.
 */
export function folderTrouble(folder: string): string | null {
  const kind = kindAt(folder);
  if (kind === null) return null;
  if (kind !== "folder") return `${folder} is a ${kind} and no folder, so nothing runs.`;
  try {
    accessSync(folder, constants.R_OK | constants.X_OK);
    return null;
  } catch {
    return `${folder} cannot be read by us, so nothing runs.`;
  }
}

/** What to do where {@link folderTrouble} says something. */
export const MEND_FOLDER =
  "Put the folder itself back, with mode 0700; or two people type: sovereign scram reset, which mends it.";

function syncPath(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

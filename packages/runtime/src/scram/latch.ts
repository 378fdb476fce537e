import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  canonicalize,
  fields,
  formats,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import type { ScramGate } from "../kernel/index.ts";
import { describeScope, scopeCovers, type WorkOwner } from "./scope.ts";

const ARMED = { armed: true } as const;
const LATCH_FILE = "LATCH";
/** Room for the latch, taken while the disk has some, so that a full disk does not hinder a stop. */
const SPARE_FILE = "LATCH.spare";
const SPARE_BYTES = 4096;

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
 * The durable kill switch state: a file that exists or does not.
 *
 * INVARIANT: when in doubt, stop. Only a clean "no such file" in a folder that is there counts as
 * armed; every other answer of the file system counts as tripped.
 */
export class ScramLatch implements ScramGate {
  readonly path: string;
  readonly #folder: string;

  /** @param folder the data folder's `scram/`; made with mode 0700 where it is missing */
  constructor(folder: string) {
    this.#folder = folder;
    this.path = join(folder, LATCH_FILE);
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
  }

  /** One look at the file system: about a microsecond, so it is taken before every action. */
  preflight(owner: WorkOwner | null = null): ReturnType<ScramGate["preflight"]> {
    try {
      if (statSync(this.path, { throwIfNoEntry: false }) !== undefined)
        return this.#covering(owner);
      // A latch that is missing because its whole folder is gone proves nothing.
      if (statSync(this.#folder, { throwIfNoEntry: false })?.isDirectory() === true) {
        return { armed: true };
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
      if (statSync(this.path, { throwIfNoEntry: false }) === undefined) return ARMED;
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

  /** Take room for a latch in advance. Called while all is well; a failure is no harm. */
  reserve(): void {
    try {
      const file = openSync(join(this.#folder, SPARE_FILE), "w", 0o600);
      try {
        writeSync(file, " ".repeat(SPARE_BYTES));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    } catch {
      // Then a stop must find its own room.
    }
  }

  /**
   * Trip. The stop is in force when this returns, and durable once {@link sync} returned. A stop
   * that is added to others leaves those as they are.
   *
   * @throws ERR_SCRAM_UNWRITABLE
   */
  trip(added: LatchedStop): void {
    const status = this.status();
    // A latch that cannot be read covers everything already.
    if (status.state === "TRIPPED" && status.stops === null && existsSync(this.path)) return;
    const stops = status.state === "ARMED" ? [] : (status.stops ?? []);
    this.#write([...stops, added], status.state === "ARMED");
  }

  /** Lift these stops; the others stay. Durable when this returns. @throws ERR_SCRAM_UNWRITABLE */
  lift(eventIds: readonly string[]): void {
    const left = (this.#read() ?? []).filter(({ event_id }) => !eventIds.includes(event_id));
    if (left.length > 0) this.#write(left, false);
    else
      this.#attempt(() => {
        rmSync(this.path, { force: true });
      });
    this.sync();
    this.reserve();
  }

  /** Make what was written durable. @throws ERR_SCRAM_UNWRITABLE */
  sync(): void {
    this.#attempt(() => {
      if (statSync(this.path, { throwIfNoEntry: false }) !== undefined) syncPath(this.path);
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

  /** The first stop must not replace one of another process; the later ones replace the file. */
  #write(stops: readonly LatchedStop[], first: boolean): void {
    const text = `${canonicalize({ format: "sovereign.scram-latch", schema_version: "1.0.0", stops: [...stops] })}\n`;
    const spare = join(this.#folder, SPARE_FILE);
    this.#attempt(() => {
      const file = openSync(spare, statSync(spare, { throwIfNoEntry: false }) ? "r+" : "wx", 0o600);
      try {
        // White space after a JSON text is none of its content.
        writeSync(file, text.padEnd(SPARE_BYTES, " "), 0);
      } finally {
        closeSync(file);
      }
      if (!first) {
        renameSync(spare, this.path);
        return;
      }
      try {
        linkSync(spare, this.path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      rmSync(spare, { force: true });
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
      return parseFormat(latchRecord, parseStrictJson(readFileSync(this.path)), "latch").stops;
    } catch {
      return null;
    }
  }
}

function syncPath(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

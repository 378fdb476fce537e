import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import {
  canonicalize,
  fields,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import type { ScramGate } from "../kernel/index.ts";

const LATCH_FILE = "LATCH";

const latchRecord = z.strictObject({
  format: z.literal("sovereign.scram-latch"),
  schema_version: fields.schemaVersion,
  tripped_at: fields.timestamp,
  reason: z.string().max(500),
});
export type LatchRecord = z.infer<typeof latchRecord>;

/** Armed: work may run. Tripped: nothing runs, across restarts. */
export type ScramStatus =
  | { readonly state: "ARMED"; readonly latch: string }
  | { readonly state: "TRIPPED"; readonly latch: string; readonly record: LatchRecord | null };

/**
 * The durable kill switch state: a file that exists or does not.
 *
 * INVARIANT: when in doubt, stop. Only a clean "no such file" in a folder that is there counts as
 * armed; every other answer of the file system counts as tripped.
 */
export class ScramLatch implements ScramGate {
  readonly path: string;

  /** @param folder the data folder's `scram/`; made with mode 0700 where it is missing */
  constructor(folder: string) {
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
  preflight(): ReturnType<ScramGate["preflight"]> {
    try {
      if (statSync(this.path, { throwIfNoEntry: false }) !== undefined) {
        return { armed: false, code: "ERR_SCRAM_TRIPPED", reason: `tripped: see ${this.path}` };
      }
      // A latch that is missing because its whole folder is gone proves nothing.
      if (statSync(dirname(this.path), { throwIfNoEntry: false })?.isDirectory() === true) {
        return { armed: true };
      }
    } catch {
      // Falls through: an unreadable state is a tripped one.
    }
    const reason = `cannot read the kill switch's state at ${this.path}`;
    return { armed: false, code: "ERR_SCRAM_UNREADABLE", reason };
  }

  status(): ScramStatus {
    if (this.preflight().armed) return { state: "ARMED", latch: this.path };
    return { state: "TRIPPED", latch: this.path, record: this.#readRecord() };
  }

  /**
   * Trip: durable when this returns. Tripping a tripped switch changes nothing.
   *
   * @throws ERR_SCRAM_UNWRITABLE when the latch can not be made durable
   */
  trip(reason: string, at: string): ScramStatus {
    const record: LatchRecord = {
      format: "sovereign.scram-latch",
      schema_version: "1.0.0",
      tripped_at: at,
      reason,
    };
    try {
      const file = openSync(this.path, "wx", 0o600);
      try {
        writeSync(file, `${canonicalize(record)}\n`);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      syncFolder(dirname(this.path));
    } catch (cause) {
      // The first trip wins: its record is the one that stands.
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST") {
        throw new SovereignError(
          "ERR_SCRAM_UNWRITABLE",
          `Cannot write the latch ${this.path}.`,
          { latch: this.path },
          cause,
        );
      }
    }
    return this.status();
  }

  /**
   * Call back once when the switch trips, so that what runs now can be killed.
   * @returns a function that stops watching
   */
  watch(onTrip: (reason: string) => void, everyMs = 25): () => void {
    const timer = setInterval(() => {
      const gate = this.preflight();
      if (gate.armed) return;
      clearInterval(timer);
      onTrip(gate.reason);
    }, everyMs);
    timer.unref();
    return () => {
      clearInterval(timer);
    };
  }

  /** The record is for people; its absence or damage never makes the switch armed. */
  #readRecord(): LatchRecord | null {
    try {
      return parseFormat(latchRecord, parseStrictJson(readFileSync(this.path)), "latch");
    } catch {
      return null;
    }
  }
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

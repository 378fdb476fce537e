import { closeSync, fsyncSync, writeSync } from "node:fs";
import { join } from "node:path";
import { canonicalize, fields, parseFormat, parseStrictJson } from "@sovereign/core";
import { z } from "zod";
import {
  kindAt,
  openOwnFile,
  ownsFile,
  readOwnFile,
  removeAt,
  replaceOwnFile,
} from "../system/index.ts";

export const SETTLED_FILE = "SETTLED";
/** Of one size always, so that a full disk has room for the next one in its place. */
const MARK_BYTES = 512;

const mark = z.strictObject({
  format: z.literal("sovereign.scram-settled"),
  schema_version: fields.schemaVersion,
  /** How many lines the journal had, and the hash of the last. */
  lines: fields.count,
  head: fields.digest,
});
/** Up to where the journal is known to hold every stop that was given. */
export type Settled = Pick<z.infer<typeof mark>, "lines" | "head">;

/**
 * The proof that no stop was lost: a file that says that every stop given so far stands in the
 * journal. A stop takes it away before all else, which needs no room on the disk, and it is back
 * once that stop is durable in the latch and in the journal.
 *
 * INVARIANT: a sentinel that finds no such proof has everything stopped. So a stop that could not
 * be written anywhere is remembered by what is missing.
 */
export class SettledMark {
  readonly #path: string;

  constructor(folder: string) {
    this.#path = join(folder, SETTLED_FILE);
  }

  /** Null where there is none that can be read: then nothing is proved. */
  read(): Settled | null {
    try {
      const bytes = readOwnFile(this.#path, MARK_BYTES);
      if (bytes === null) return null;
      const { lines, head } = parseFormat(mark, parseStrictJson(bytes), "mark");
      return { lines, head };
    } catch {
      return null;
    }
  }

  /** Whether something stands there, be it readable or not. */
  get stands(): boolean {
    return kindAt(this.#path) !== null;
  }

  /**
   * Take it away: at once, and durable once the folder is synced. Never throws: where it cannot be
   * removed, what it says is.
   */
  break(): void {
    try {
      removeAt(this.#path);
    } catch {
      this.#overwrite(" ".repeat(MARK_BYTES));
    }
  }

  /** Durable when this returns. @throws what the system says */
  settle({ lines, head }: Settled): void {
    const format = "sovereign.scram-settled";
    const record = canonicalize({ format, schema_version: "1.0.0", lines, head });
    const text = `${record}\n`.padEnd(MARK_BYTES, " ");
    // In its place, which takes no room. One that is half written proves nothing.
    if (ownsFile(this.#path) && this.#overwrite(text)) return;
    replaceOwnFile(this.#path, text);
  }

  #overwrite(text: string): boolean {
    try {
      const file = openOwnFile(this.#path, "update");
      try {
        writeSync(file, text, 0);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      return true;
    } catch {
      return false;
    }
  }
}

import { join } from "node:path";
import { canonicalBytes, fields, parseFormat, parseStrictJson } from "@sovereign/core";
import { z } from "zod";
import { readOwnFile, replaceOwnFile } from "../../system/index.ts";
import type { Journal } from "../../scram/index.ts";
import type { Place } from "./order-watch.ts";

const BYTES_MAX = 4096;

const placeFile = z.strictObject({
  index: fields.count,
  hash: fields.digest,
  /** The kill switch's journal then: how many lines it had, and the hash of the last. */
  lines: fields.count.optional(),
  head: fields.digest.optional(),
  /** How many of them the ledger held. */
  held: fields.count.optional(),
});

/**
 * How far this node has read the installation's log, so that a start needs not read all of it. It saves
 * time, and is believed no further: what is read twice is known to the sentinel. With a journal that is
 * older than it, it is not believed: the orders between them would be passed over.
 */
export class PlaceFile {
  readonly #path: string;
  readonly #journal: Journal;

  /** @param folder the data folder's `ledger/` */
  constructor(folder: string, journal: Journal) {
    this.#path = join(folder, "nodes-read.json");
    this.#journal = journal;
  }

  /** Null where there is none that can be read, or the journal is another or an older one. */
  read(): Place | null {
    const { index, hash, lines, head } = this.#read() ?? {};
    if (index === undefined || hash === undefined || lines === undefined) return null;
    return this.#headAt(lines) === head ? { index, hash } : null;
  }

  /** How many lines of the journal the ledger held; 0 where that is not known. */
  readHeld(): number {
    return this.#read()?.held ?? 0;
  }

  write({ index, hash }: Place, held: number): void {
    try {
      this.#journal.refresh();
      const { lines, head } = this.#journal;
      const kept = { index, hash, lines: lines.length, head, held };
      replaceOwnFile(this.#path, canonicalBytes(kept));
    } catch {
      // Then the next start reads more.
    }
  }

  /** The hash of the last of so many lines, as long as there are as many. */
  #headAt(lines: number): string | undefined {
    this.#journal.refresh();
    if (lines === this.#journal.lines.length) return this.#journal.head;
    return this.#journal.lines[lines]?.previous_hash;
  }

  #read(): z.infer<typeof placeFile> | null {
    try {
      const bytes = readOwnFile(this.#path, BYTES_MAX);
      if (bytes === null) return null;
      return parseFormat(placeFile, parseStrictJson(bytes), this.#path);
    } catch {
      return null;
    }
  }
}

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalBytes, fields, parseFormat, parseStrictJson } from "@sovereign/core";
import { z } from "zod";
import type { Place } from "./node-watch.ts";

const placeFile = z.strictObject({ index: fields.count, hash: fields.digest });

/**
 * How far this node has read the installation's log, so that a start needs not read all of it. It saves
 * time, and is believed no further: what is read twice is known to the sentinel.
 */
export class PlaceFile {
  readonly #path: string;

  /** @param folder the data folder's `ledger/` */
  constructor(folder: string) {
    this.#path = join(folder, "nodes-read.json");
  }

  /** Null where there is none that can be read. */
  read(): Place | null {
    if (!existsSync(this.#path)) return null;
    try {
      return parseFormat(placeFile, parseStrictJson(readFileSync(this.#path)), this.#path);
    } catch {
      return null;
    }
  }

  write({ index, hash }: Place): void {
    const temporary = `${this.#path}.${process.pid}`;
    try {
      writeFileSync(temporary, canonicalBytes({ index, hash }), { mode: 0o600 });
      renameSync(temporary, this.#path);
    } catch {
      // Then the next start reads more.
    }
  }
}

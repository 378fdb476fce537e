import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { openOwnFile, ownsFile, removeAt } from "../system/index.ts";

/** Room for latches, taken while the disk has some, so that a full disk does not hinder a stop. */
const SPARES = ["LATCH.spare", "LATCH.spare-2", "LATCH.spare-3", "LATCH.spare-4"];
const SPARE_BYTES = 4096;
/** The same for answers to calls, whose callers would not hear that all is dead. */
export const ANSWER_SPARES: readonly string[] = ["answer.spare", "answer.spare-2"];
/** What is no record covers everything. */
const EVERYTHING = "stopped: everything\n";

/**
 * Writes the latch on a disk that may have no room left, neither bytes nor files: files of 4 KiB were
 * made in advance, which are written in place and renamed. With none of them left the latch that is
 * there is written over. Whatever is half written is a latch that cannot be read, and so covers
 * everything.
 */
export class LatchRoom {
  readonly #folder: string;
  readonly #latch: string;

  constructor(folder: string, latch: string) {
    this.#folder = folder;
    this.#latch = latch;
  }

  /** Make what is missing of the files; a failure is no harm. */
  reserve(): void {
    for (const name of [...SPARES, ...ANSWER_SPARES]) {
      const path = join(this.#folder, name);
      try {
        if (hasRoom(path)) continue;
        removeAt(path);
        const file = openOwnFile(path, "create");
        try {
          writeSync(file, " ".repeat(SPARE_BYTES));
          fsyncSync(file);
        } finally {
          closeSync(file);
        }
      } catch {
        // Then a stop has less room, and needs what is left.
      }
    }
  }

  /** Put a text in the latch's place. @throws what the system says when no way was left */
  write(text: string): void {
    // White space after a JSON text is none of its content.
    const padded = text.padEnd(SPARE_BYTES, " ");
    const ways = [
      ...SPARES.map((name) => () => {
        this.#rename(join(this.#folder, name), "update", padded);
      }),
      () => {
        const fresh = join(this.#folder, "LATCH.new");
        removeAt(fresh);
        this.#rename(fresh, "create", padded);
      },
      () => {
        overwrite(this.#latch, padded);
      },
      // No room for its words: then it covers everything.
      () => {
        overwrite(this.#latch, EVERYTHING);
      },
      () => {
        closeSync(openSync(this.#latch, "wx", 0o600));
      },
    ];
    const failures: unknown[] = [];
    for (const way of ways) {
      try {
        way();
        return;
      } catch (error) {
        failures.push(error);
      }
    }
    // What the system says of a new file tells most.
    throw failures[SPARES.length];
  }

  #rename(path: string, use: "update" | "create", text: string): void {
    overwrite(path, text, use);
    renameSync(path, this.#latch);
  }
}

/** @throws where it does not go in whole */
export function overwrite(path: string, text: string, use: "update" | "create" = "update"): void {
  const file = openOwnFile(path, use);
  try {
    const written = writeSync(file, text, 0);
    ftruncateSync(file, written);
    if (written < Buffer.byteLength(text)) throw new Error("no room is left");
  } finally {
    closeSync(file);
  }
}

/** A file with holes has a size and no room. */
function hasRoom(path: string): boolean {
  if (!ownsFile(path)) return false;
  const { size, blocks, nlink } = lstatSync(path);
  return size === SPARE_BYTES && blocks * 512 >= SPARE_BYTES && nlink === 1;
}

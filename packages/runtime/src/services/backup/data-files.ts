import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
} from "node:fs";
import { join } from "node:path";
import { DATA_PARTS } from "../../home/index.ts";
import { isCode } from "../../system/index.ts";

/** A file of a data folder. */
export interface DataFile {
  /** From the data folder, with `/`. */
  readonly path: string;
  readonly executable: boolean;
}

/** What of a data folder goes into a backup, and what is left where it is. */
export interface DataFiles {
  readonly plain: Generator<DataFile>;
  readonly sealed: Generator<DataFile>;
  /** Links, sockets, pipes, names that are no text, and what is not of ours; for people. */
  readonly leftOut: string[];
}

const BLOCK_BYTES = 1024 * 1024;

/** Of the folders that a backup does not take whole: which of their files. The signed heads are read apart. */
const CHOSEN: Readonly<Record<string, RegExp>> = {
  // The proof that no stop was lost stays behind: it is none about another folder. The list of keys is made
  // again from the ledger.
  scram: /^scram\/(?:journal\.jsonl|LATCH|envelopes\/[0-9a-f]{64}\.json)$/,
};

export function dataFiles(home: string): DataFiles {
  const leftOut: string[] = [];
  const parts = new Map(DATA_PARTS.map((part) => [part.name, part.backup]));
  for (const name of readdirSync(home)) if (!parts.has(name)) leftOut.push(name);
  const filesOf = function* (backup: "plain" | "sealed"): Generator<DataFile> {
    for (const part of DATA_PARTS) {
      if (part.backup === backup) yield* walk(home, part.name, leftOut, null);
      // Looked at last: what stops the work that goes on is in it.
      const chosen = part.backup === "chosen" && backup === "plain" ? CHOSEN[part.name] : undefined;
      if (chosen !== undefined) yield* walk(home, part.name, leftOut, chosen);
    }
  };
  return { plain: filesOf("plain"), sealed: filesOf("sealed"), leftOut };
}

function* walk(
  home: string,
  path: string,
  leftOut: string[],
  chosen: RegExp | null,
): Generator<DataFile> {
  const found = lstatSync(join(home, path), { throwIfNoEntry: false });
  if (found === undefined) {
    // Work goes on, and removes what it needs no more. A name that is no text is not found, either.
    if (path.includes("\ufffd")) leftOut.push(path);
    return;
  }
  if (found.isDirectory()) {
    let names: string[];
    try {
      names = readdirSync(join(home, path)).sort();
    } catch (error) {
      if (isCode(error, "ENOENT")) return;
      throw error;
    }
    for (const name of names) yield* walk(home, `${path}/${name}`, leftOut, chosen);
    return;
  }
  if (chosen !== null && !chosen.test(path)) return;
  if (found.isFile()) yield { path, executable: (found.mode & 0o100) !== 0 };
  else leftOut.push(path);
}

/** The bytes of a file to its end, a block at a time; null where it is gone, or no file any more. */
export function* blocksOf(path: string): Generator<Buffer, boolean> {
  let file: number;
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    file = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    if (isCode(error, "ENOENT") || isCode(error, "ELOOP")) return false;
    throw error;
  }
  try {
    if (!fstatSync(file).isFile()) return false;
    for (;;) {
      const block = Buffer.alloc(BLOCK_BYTES);
      const read = readSync(file, block, 0, block.length, null);
      if (read === 0) return true;
      yield block.subarray(0, read);
    }
  } finally {
    closeSync(file);
  }
}

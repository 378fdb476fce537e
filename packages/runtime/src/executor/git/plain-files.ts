import { closeSync, constants, copyFileSync, fstatSync, openSync, readFileSync } from "node:fs";
import { SovereignError } from "@sovereign/core";

export const SMALL_BYTES = 64 * 1024;
/** As much as is read into memory at once. */
export const FILE_BYTES_MAX = 2 ** 31 - 1;
/** Of some million paths. */
export const INDEX_BYTES_MAX = 1024 * 1024 * 1024;

/**
 * A small file of the user's, read so that nothing that stands there, or is put there in this moment,
 * keeps us waiting: a FIFO, a device, a file of terabytes without content.
 *
 * @returns null where there is no regular file of at most so many bytes
 */
export function readPlainText(path: string, bytesMax: number = SMALL_BYTES): string | null {
  return readPlainBytes(path, bytesMax)?.toString("utf8") ?? null;
}

/** The same, as bytes. */
export function readPlainBytes(path: string, bytesMax: number): Buffer | null {
  return withPlain(path, bytesMax, (fd) => readFileSync(fd));
}

/**
 * Copy such a file.
 * @throws ERR_REPOSITORY_REFUSED which names what is none
 */
export function copyPlainFile(from: string, to: string, bytesMax: number): void {
  const copied = withPlain(from, bytesMax, (fd) => {
    copyFileSync(`/proc/self/fd/${fd}`, to);
    return true;
  });
  if (copied === true) return;
  const text = `Expected a plain file of at most ${bytesMax} bytes at ${JSON.stringify(from)}, found something else: put one in its place.`;
  throw new SovereignError("ERR_REPOSITORY_REFUSED", text, { where: from });
}

function withPlain<T>(path: string, bytesMax: number, work: (fd: number) => T): T | null {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return null;
  }
  try {
    const found = fstatSync(fd);
    return found.isFile() && found.size <= bytesMax ? work(fd) : null;
  } finally {
    closeSync(fd);
  }
}

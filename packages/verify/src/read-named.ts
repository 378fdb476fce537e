import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
} from "node:fs";
import { SovereignError } from "@sovereign/core";

const CHUNK = 1024 * 1024;
/** Enough for whatever a person writes. */
const BYTES_MAX = 64 * 1024 * 1024;
/** What a shell hands over in place of a file's name: `<(command)`, standard input. */
const INHERITED = /^\/dev\/(?:fd\/(\d{1,6})|stdin)$/;

/**
 * Read a file that a person named. A pipe that nobody writes would be waited for without end, and
 * a device may have no end: only plain files are read, and what the caller's shell holds open.
 *
 * @param bytesMax the most that is read
 * @throws ERR_FILE_UNREADABLE when it is absent, no plain file, or larger
 */
export function readNamed(path: string, bytesMax = BYTES_MAX): Buffer {
  try {
    const inherited = INHERITED.exec(path);
    if (inherited !== null) return readFileSync(Number(inherited[1] ?? 0));
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      if (!stat.isFile()) throw new Error(`expected a plain file, found a ${kindOf(stat)}`);
      return readAll(file, bytesMax);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** What is said of a file that cannot be read. */
export function unreadable(path: string, cause: unknown): SovereignError {
  const absent = (cause as NodeJS.ErrnoException).code === "ENOENT";
  const why = absent ? "no such file" : cause instanceof Error ? cause.message : "unknown";
  return new SovereignError("ERR_FILE_UNREADABLE", `Cannot read ${path}: ${why}.`, { path }, cause);
}

/** Its size may be told wrongly, or change: what is read is what counts. */
function readAll(file: number, bytesMax: number): Buffer {
  const chunks: Buffer[] = [];
  for (let size = 0; ; ) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, bytesMax + 1 - size));
    const read = readSync(file, chunk);
    if (read === 0) return Buffer.concat(chunks, size);
    size += read;
    if (size > bytesMax) throw new Error(`expected at most ${bytesMax} bytes, found more`);
    chunks.push(chunk.subarray(0, read));
  }
}

function kindOf(stat: Stats): string {
  if (stat.isDirectory()) return "folder";
  if (stat.isFIFO()) return "named pipe";
  return stat.isSocket() ? "socket" : "device";
}

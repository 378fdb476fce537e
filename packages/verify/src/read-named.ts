import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  openSync,
  readSync,
  type Stats,
} from "node:fs";
import { SovereignError, systemWords } from "@sovereign/core";

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
    if (inherited !== null) return readInherited(Number(inherited[1] ?? 0), bytesMax);
    const file = openPlain(path);
    try {
      checkSize(fstatSync(file).size, bytesMax);
      return readAll(file, bytesMax);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/**
 * The same, for a file that may have any size: it is read as it comes.
 *
 * @throws ERR_FILE_UNREADABLE when it is absent or no plain file; while it is read, too
 */
export async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  let file: number | null = null;
  try {
    const inherited = INHERITED.exec(path);
    if (inherited !== null) checkInherited(Number(inherited[1] ?? 0));
    file = inherited === null ? openPlain(path) : Number(inherited[1] ?? 0);
    const options = { fd: file, autoClose: false, highWaterMark: CHUNK };
    for await (const chunk of createReadStream("", options)) yield chunk as Uint8Array;
  } catch (cause) {
    throw unreadable(path, cause);
  } finally {
    if (file !== null && INHERITED.exec(path) === null) closeSync(file);
  }
}

/** A pipe that nobody writes does not hold the opening up, and is refused before it is read. */
function openPlain(path: string): number {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const stat = fstatSync(file);
  if (stat.isFile()) return file;
  closeSync(file);
  throw new Error(`expected a plain file, found a ${kindOf(stat)}`);
}

/** What the shell opened may be a pipe: whoever typed it says when it ends. */
function checkInherited(file: number): void {
  const stat = fstatSync(file);
  if (stat.isFile() || stat.isFIFO() || stat.isSocket()) return;
  throw new Error(`expected a file or a pipe, found a ${kindOf(stat)}`);
}

function readInherited(file: number, bytesMax: number): Buffer {
  checkInherited(file);
  return readAll(file, bytesMax);
}

function checkSize(size: number, bytesMax: number): void {
  if (size > bytesMax) throw new Error(`expected at most ${bytesMax} bytes, found ${size}`);
}

/** What is said of a file that cannot be read. */
export function unreadable(path: string, cause: unknown): SovereignError {
  const text = `Cannot read ${path}: ${systemWords(cause)}.`;
  return new SovereignError("ERR_FILE_UNREADABLE", text, { path }, cause);
}

/** Its size may be told wrongly, or change: what is read is what counts. */
function readAll(file: number, bytesMax: number): Buffer {
  const chunks: Buffer[] = [];
  for (let size = 0; ; ) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK, bytesMax + 1 - size));
    const read = readOrWait(file, chunk);
    if (read === 0) return Buffer.concat(chunks, size);
    size += read;
    if (size > bytesMax) throw new Error(`expected at most ${bytesMax} bytes, found more`);
    chunks.push(chunk.subarray(0, read));
  }
}

/** A pipe that was opened not to block says so while it is empty. */
function readOrWait(file: number, chunk: Buffer): number {
  for (;;) {
    try {
      return readSync(file, chunk);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EOF") return 0;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

function kindOf(stat: Stats): string {
  if (stat.isDirectory()) return "folder";
  if (stat.isFIFO()) return "named pipe";
  return stat.isSocket() ? "socket" : "device";
}

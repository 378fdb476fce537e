import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { quoted, SovereignError, systemWords } from "@sovereign/core";
import { BACKUP, type PartsKind } from "./backup-error.ts";

/**
 * The file of a backup, or of an archive of old entries: POSIX tar (ustar) of plain files with fixed
 * names, mode, owner and time. Who has no Sovereign can look into it with `tar` and check it with
 * `sha256sum`.
 */
const BLOCK = 512;
/** No part is larger. */
export const PART_BYTES_MAX = 96 * 1024 * 1024;
const PARTS_MAX = 1_000_000;
const KINDS: Readonly<Record<string, string>> = {
  "1": "a hard link",
  "2": "a symbolic link",
  "3": "a device",
  "4": "a device",
  "5": "a folder",
  "6": "a named pipe",
};
const END = Buffer.alloc(2 * BLOCK);

/** One part as it stands in an archive: its header, its bytes, and what fills its last block. */
export function tarPart(name: string, bytes: Uint8Array): Buffer {
  if (bytes.length > PART_BYTES_MAX) throw new RangeError(`${name} has ${bytes.length} bytes`);
  const filler = Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK);
  return Buffer.concat([headerOf(name, bytes.length), bytes, filler]);
}

/** What stands at the end of an archive. */
export function tarEnd(): Buffer {
  return Buffer.from(END);
}

function headerOf(name: string, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write(name, 0, 100, "latin1");
  header.write("0000600\0", 100, "latin1");
  header.write("0000000\0", 108, "latin1");
  header.write("0000000\0", 116, "latin1");
  header.write(`${size.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  header.write("00000000000\0", 136, "latin1");
  header.write("        ", 148, "latin1");
  header.write("0", 156, "latin1");
  header.write("ustar\u000000", 257, "latin1");
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

/** A part that was read, and where it begins in the archive. */
export interface TarPart {
  readonly name: string;
  readonly bytes: Buffer;
  readonly at: number;
}

/**
 * Read an archive of ours from the beginning. A header is one that we would write, byte for byte: so
 * there are no links, devices, folders, paths or attributes in it.
 *
 * @param path untrusted
 * @throws ERR_BACKUP_INVALID or ERR_ARCHIVE_INVALID with the place, ERR_FILE_UNREADABLE where it is no
 *   plain file
 */
export function* readTar(path: string, kind: PartsKind = BACKUP): Generator<TarPart> {
  const file = openParts(path, kind);
  const broken = (at: number, why: string): SovereignError => kind.fault(`byte ${at}`, why);
  const readAt = (at: number, length: number, size: number): Buffer =>
    bytesAt(file, at, length, size, broken);
  try {
    const { size } = fstatSync(file);
    const names = new Set<string>();
    let at = 0;
    for (;;) {
      const header = readAt(at, BLOCK, size);
      if (header.equals(END.subarray(0, BLOCK))) break;
      const { name, length } = parseHeader(header, at, broken, kind);
      if (names.has(name)) throw broken(at, `the part ${name} stands in it twice`);
      names.add(name);
      if (names.size > PARTS_MAX) throw broken(at, `it has more than ${PARTS_MAX} parts`);
      const bytes = readAt(at + BLOCK, length, size);
      const filled = Math.ceil(length / BLOCK) * BLOCK;
      const filler = readAt(at + BLOCK + length, filled - length, size);
      if (filler.some((byte) => byte !== 0)) throw broken(at, `${name} is followed by other bytes`);
      yield { name, bytes, at };
      at += BLOCK + filled;
    }
    if (!readAt(at, END.length, size).equals(END)) throw broken(at, "it does not end there");
    if (size > at + END.length) throw broken(at + END.length, "there is more after its end");
  } finally {
    closeSync(file);
  }
}

/** The bytes of one part of a file that was read before; another file may stand there by now. */
export function readPart(
  path: string,
  { name, at }: Omit<TarPart, "bytes">,
  kind: PartsKind,
): Buffer {
  const file = openParts(path, kind);
  const broken: Broken = (place, why) => kind.fault(`byte ${place}`, why);
  try {
    const { size } = fstatSync(file);
    const header = parseHeader(bytesAt(file, at, BLOCK, size, broken), at, broken, kind);
    if (header.name !== name) throw broken(at, `the part ${name} begins there no more`);
    return bytesAt(file, at + BLOCK, header.length, size, broken);
  } finally {
    closeSync(file);
  }
}

type Broken = (at: number, why: string) => SovereignError;

/** A plain file, open for reading. @throws ERR_FILE_UNREADABLE */
export function openParts(path: string, kind: PartsKind): number {
  try {
    // A pipe that stands there is not waited for.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (fstatSync(file).isFile()) return file;
    closeSync(file);
    throw new Error("it is no plain file");
  } catch (cause) {
    const why = systemWords(cause);
    const text = `Cannot read the ${kind.name} ${quoted(path)}: ${why}. Expected the file that \`${kind.command}\` wrote.`;
    throw new SovereignError("ERR_FILE_UNREADABLE", text, { path }, cause);
  }
}

function parseHeader(
  header: Buffer,
  at: number,
  broken: Broken,
  kind: PartsKind,
): { name: string; length: number } {
  const end = header.indexOf(0);
  const name = header.toString("latin1", 0, Math.min(end, 100));
  const digits = header.toString("latin1", 124, 135);
  const length = /^[0-7]{11}$/.test(digits) ? Number.parseInt(digits, 8) : -1;
  if (length > PART_BYTES_MAX) {
    throw broken(at, `${quoted(name)} says ${length} bytes; a part has at most ${PART_BYTES_MAX}`);
  }
  if (length >= 0 && headerOf(name, length).equals(header)) return { name, length };
  const held = KINDS[header.toString("latin1", 156, 157)];
  throw broken(
    at,
    held === undefined ? `no part of this ${kind.name} begins there` : `it holds ${held}`,
  );
}

function bytesAt(file: number, at: number, length: number, size: number, broken: Broken): Buffer {
  if (at + length > size) throw broken(size, "it is cut off there");
  const bytes = Buffer.alloc(length);
  for (let read = 0; read < length; ) {
    const more = readSync(file, bytes, read, length - read, at + read);
    if (more === 0) throw broken(at + read, "it is cut off there");
    read += more;
  }
  return bytes;
}

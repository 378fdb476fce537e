import { ZipProblem } from "./inflate.ts";

/** The record before an entry's data, the one in the directory, and the end of the directory. */
const LOCAL = { signature: 0x04034b50, bytes: 30, fieldsAt: 6 };
const CENTRAL = { signature: 0x02014b50, bytes: 46, fieldsAt: 8 };
const END = { signature: 0x06054b50, bytes: 22 };

export const STORED = 0;
const DEFLATED = 8;
/** Zip 2.0, which knows deflate and no zip64. */
const VERSION_MAX = 20;
/** Flags that change nothing: how hard it was compressed, and that the name is UTF-8. */
const FLAGS_ALLOWED = 0x0806;
const FLAGS_REFUSED: readonly (readonly [number, string])[] = [
  [0x0001, "encryption"],
  [0x0008, "sizes that stand behind the data"],
  [~FLAGS_ALLOWED, "features that a bundle does not use"],
];
/** Extra fields that say sizes or the name a second time. */
const EXTRA_REFUSED: ReadonlyMap<number, string> = new Map([
  [0x0001, "zip64"],
  [0x7075, "a second name"],
]);
/** DOS: directory or volume label. */
const DOS_NO_FILE = 0x18;
/** Unix: the type of a file, and the regular one. */
const UNIX_TYPE = 0o170000;
const UNIX_REGULAR = 0o100000;

export interface ZipEntry {
  readonly method: number;
  readonly checksum: number;
  readonly size: number;
  /** As it stands in the file. */
  readonly data: Uint8Array;
}

/**
 * Find the one entry of a zip.
 *
 * Readers of zip files differ on names, sizes and places that are said twice, so that one file can
 * be two things to two readers. Here everything must agree: one entry from the first byte on, its
 * directory right behind it, and the end right behind that. No other layout is read.
 *
 * @param zip untrusted
 * @throws ZipProblem
 * @see APPNOTE.TXT 6.3.10 §4.3
 */
export function readZipEntry(zip: Uint8Array, name: string): ZipEntry {
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength);
  const endAt = zip.length - END.bytes;
  const directoryAt = readEnd(view, endAt);
  const central = readRecord(view, directoryAt, CENTRAL);
  checkCentral(view, directoryAt);
  if (central.end !== endAt) throw new ZipProblem("more in its directory than one entry");
  checkFeatures(central);
  const local = readRecord(view, 0, LOCAL);
  checkAgreement(local, central);
  if (local.end + central.packedSize !== directoryAt) {
    throw new ZipProblem("an entry that does not reach from the first byte to the directory");
  }
  for (const record of [local, central]) {
    checkName(zip.subarray(record.nameAt, record.extraAt), name);
    checkExtra(view, record.extraAt, record.end);
  }
  const { method, checksum, size } = central;
  return { method, checksum, size, data: zip.subarray(local.end, directoryAt) };
}

/** @returns where the directory begins */
function readEnd(view: DataView, at: number): number {
  if (at < 0 || view.getUint32(at, true) !== END.signature) {
    throw new ZipProblem("no end: it is cut off, or something follows");
  }
  const [disk, directoryDisk, here, entries] = [4, 6, 8, 10].map((field) =>
    view.getUint16(at + field, true),
  );
  if (disk !== 0 || directoryDisk !== 0 || here !== entries) throw new ZipProblem("several disks");
  if (entries === 0xffff) throw new ZipProblem("zip64");
  if (view.getUint16(at + 20, true) !== 0) throw new ZipProblem("a comment that is not there");
  if (entries !== 1) throw new ZipProblem(`${entries} entries`);
  const size = view.getUint32(at + 12, true);
  const directoryAt = view.getUint32(at + 16, true);
  if (size === 0xffffffff || directoryAt === 0xffffffff) throw new ZipProblem("zip64");
  if (directoryAt + size !== at) throw new ZipProblem("a directory at another place than it says");
  return directoryAt;
}

/** What both records of an entry say, in the same order. */
interface ZipRecord {
  readonly version: number;
  readonly flags: number;
  readonly method: number;
  readonly checksum: number;
  readonly packedSize: number;
  readonly size: number;
  readonly nameAt: number;
  readonly extraAt: number;
  readonly end: number;
}

function readRecord(
  view: DataView,
  at: number,
  { signature, bytes, fieldsAt }: typeof LOCAL,
): ZipRecord {
  if (at + bytes > view.byteLength || view.getUint32(at, true) !== signature) {
    throw new ZipProblem("no record where one should be");
  }
  const fields = at + fieldsAt;
  const nameAt = at + bytes;
  const extraAt = nameAt + view.getUint16(fields + 20, true);
  const end = extraAt + view.getUint16(fields + 22, true);
  if (end > view.byteLength) throw new ZipProblem("a record that ends outside the file");
  return {
    version: view.getUint16(fields - 2, true),
    flags: view.getUint16(fields, true),
    method: view.getUint16(fields + 2, true),
    checksum: view.getUint32(fields + 8, true),
    packedSize: view.getUint32(fields + 12, true),
    size: view.getUint32(fields + 16, true),
    nameAt,
    extraAt,
    end,
  };
}

/** What the directory alone says: a regular file, at the first byte, without a comment. */
function checkCentral(view: DataView, at: number): void {
  if (view.getUint16(at + 32, true) !== 0) throw new ZipProblem("a comment");
  if (view.getUint16(at + 34, true) !== 0) throw new ZipProblem("several disks");
  const attributes = view.getUint32(at + 38, true);
  const type = (attributes >>> 16) & UNIX_TYPE;
  if ((attributes & DOS_NO_FILE) !== 0 || (type !== 0 && type !== UNIX_REGULAR)) {
    throw new ZipProblem("an entry that is no regular file");
  }
  if (view.getUint32(at + 42, true) !== 0) throw new ZipProblem("an entry at another place");
}

function checkAgreement(local: ZipRecord, central: ZipRecord): void {
  for (const field of ["flags", "method", "checksum", "packedSize", "size"] as const) {
    if (local[field] !== central[field]) {
      throw new ZipProblem(`an entry whose ${field} differs from the directory's`);
    }
  }
}

function checkName(found: Uint8Array, name: string): void {
  // Compared as bytes: there is no decoding in which another name could look like this one.
  const same =
    found.length === name.length && found.every((byte, at) => byte === name.charCodeAt(at));
  if (!same) throw new ZipProblem("an entry of another name");
}

function checkExtra(view: DataView, start: number, end: number): void {
  let at = start;
  while (at < end) {
    if (at + 4 > end) throw new ZipProblem("a broken extra field");
    const refused = EXTRA_REFUSED.get(view.getUint16(at, true));
    if (refused !== undefined) throw new ZipProblem(refused);
    at += 4 + view.getUint16(at + 2, true);
  }
  if (at !== end) throw new ZipProblem("a broken extra field");
}

function checkFeatures({ version, flags, method }: ZipRecord): void {
  const refused = FLAGS_REFUSED.find(([bits]) => (flags & bits) !== 0);
  if (refused !== undefined) throw new ZipProblem(refused[1]);
  if ((version & 0xff) > VERSION_MAX || (method !== STORED && method !== DEFLATED)) {
    throw new ZipProblem("a way of packing that a bundle does not use");
  }
}

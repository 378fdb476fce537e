import { zipSync } from "fflate";
import { inflateWithin, ZipProblem } from "./inflate.ts";
import { readZipEntry, STORED } from "./zip-directory.ts";

/** 1980-01-01, the earliest that a zip file can say: the same in every bundle. */
const ZIP_TIME = new Date(1980, 0, 1);
/** Above this size the data may not be packed tighter than this: such a file is made to hurt. */
const RATIO_FREE_BYTES = 8 * 1024 * 1024;
const RATIO_MAX = 250;

/** Zip one file: the same bytes each time. What would be packed too tight is stored as it is. */
export function writeZip(name: string, bytes: Uint8Array): Uint8Array {
  const zipped = zipAtLevel(name, bytes, 6);
  return isTooTight(bytes.length, zipped.length) ? zipAtLevel(name, bytes, 0) : zipped;
}

/**
 * Read the one file of a zip. Memory grows with what comes out, not with what is claimed.
 *
 * @param zip untrusted
 * @param name what the entry must be called, in ASCII
 * @throws ZipProblem
 */
export function readZip(zip: Uint8Array, name: string, bytesMax: number): Uint8Array {
  const { method, checksum, size, data } = readZipEntry(zip, name);
  if (size > bytesMax) throw new ZipProblem(`${size} bytes, more than ${bytesMax}`);
  if (isTooTight(size, data.length)) {
    throw new ZipProblem(`${data.length} bytes that claim to unpack to ${size}`);
  }
  const bytes = method === STORED ? data : inflateWithin(data, size);
  if (bytes.length !== size) {
    throw new ZipProblem(`an entry of ${bytes.length} bytes that claims ${size}`);
  }
  if (crc32(bytes) !== checksum) throw new ZipProblem("a wrong checksum");
  return bytes;
}

function zipAtLevel(name: string, bytes: Uint8Array, level: 0 | 6): Uint8Array {
  return zipSync({ [name]: [bytes, { level, mtime: ZIP_TIME, os: 3, attrs: 0 }] });
}

function isTooTight(size: number, packedSize: number): boolean {
  return size > RATIO_FREE_BYTES && size > RATIO_MAX * packedSize;
}

/** The checksum of zip files (ISO-HDLC). It finds accidents; forgeries are for the signatures. */
function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] as number);
  return (crc ^ -1) >>> 0;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});

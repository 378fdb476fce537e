import { inflateSync } from "node:zlib";
import { SovereignError } from "@sovereign/core";

/** What a patch may make of one file, and of all of them. */
interface PatchLimits {
  readonly fileBytesMax: number;
  readonly totalBytesMax: number;
}

const BINARY = "GIT binary patch";
/** Git's own alphabet of 85 letters. */
const LETTERS = `0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_\`{|}~`;
const GROUP = 5;
const GROUP_BYTES = 4;
/** The two sizes at the beginning of a delta: seven bits a byte. */
const SIZES_BYTES = 20;

/**
 * Read what the binary parts of a patch say of their own sizes, before git unpacks any of them: a few
 * bytes can stand for any number, and git believes them.
 *
 * @param patch untrusted
 * @throws ERR_CHANGE_FILE_SIZE, ERR_CHANGE_TOTAL for what would be too large
 * @throws ERR_CHANGE_REFUSED for what lies of its size, ERR_CHANGE_MISFIT for what cannot be read
 */
export function judgePatchSizes(patch: Uint8Array, limits: PatchLimits): void {
  const lines = Buffer.from(patch).toString("latin1").split("\n");
  const from = lines.findIndex((line) => line.startsWith(BINARY));
  if (from < 0) return;
  let total = 0;
  const add = (bytes: number): void => {
    const { fileBytesMax, totalBytesMax } = limits;
    if (!(bytes <= fileBytesMax)) throw tooMuch("ERR_CHANGE_FILE_SIZE", bytes, fileBytesMax);
    total += bytes;
    if (total > totalBytesMax) throw tooMuch("ERR_CHANGE_TOTAL", total, totalBytesMax);
  };
  for (let at = from; at < lines.length; at += 1) {
    const said = /^(literal|delta)\s+(\S*)/.exec(lines[at] ?? "");
    if (said === null) continue;
    const bytes = /^\d+\r?$/.test(said[2] ?? "") ? Number(said[2]) : Number.NaN;
    add(bytes);
    if (said[1] === "delta") for (const size of sizesOf(lines, at + 1, bytes)) add(size);
  }
}

/** What a delta begins with: the size of what it is for, and of what it gives. */
function sizesOf(lines: readonly string[], from: number, bytes: number): number[] {
  const packed: Buffer[] = [];
  for (let at = from; at < lines.length && (lines[at] ?? "").trim() !== ""; at += 1) {
    packed.push(decodeLine(lines[at] ?? ""));
  }
  let delta: Buffer;
  try {
    delta = inflateSync(Buffer.concat(packed), { maxOutputLength: Math.max(1, bytes) });
  } catch (cause) {
    // Bytes that lie of their size are no slip of whoever made the patch.
    const text = "A binary patch is refused: its data do not unpack to the size that it says.";
    throw new SovereignError("ERR_CHANGE_REFUSED", text, {}, cause);
  }
  const sizes: number[] = [];
  let size = 0;
  let scale = 1;
  for (const byte of delta.subarray(0, SIZES_BYTES)) {
    size += (byte & 0x7f) * scale;
    scale *= 128;
    if ((byte & 0x80) !== 0) continue;
    sizes.push(size);
    if (sizes.length === 2) return sizes;
    size = 0;
    scale = 1;
  }
  throw unreadable("a delta of it does not begin with two sizes");
}

/** One letter for how many bytes the line has, then five letters for each four of them. */
function decodeLine(line: string): Buffer {
  const [letter = "", ...rest] = line.replace(/\r$/, "");
  const length = lengthOf(letter);
  const bytes: number[] = [];
  for (let at = 0; at + GROUP <= rest.length; at += GROUP) {
    let value = 0;
    for (const one of rest.slice(at, at + GROUP)) {
      const digit = LETTERS.indexOf(one);
      if (digit < 0) throw unreadable("its data have a letter that base85 does not have");
      value = value * LETTERS.length + digit;
    }
    for (let shift = GROUP_BYTES - 1; shift >= 0; shift -= 1)
      bytes.push((value >>> (8 * shift)) & 255);
  }
  if (length > bytes.length) throw unreadable("a line of its data is too short");
  return Buffer.from(bytes.slice(0, length));
}

function lengthOf(letter: string): number {
  if (letter >= "A" && letter <= "Z") return letter.charCodeAt(0) - 64;
  if (letter >= "a" && letter <= "z") return letter.charCodeAt(0) - 96 + 26;
  throw unreadable("a line of its data does not say how long it is");
}

function tooMuch(
  code: "ERR_CHANGE_FILE_SIZE" | "ERR_CHANGE_TOTAL",
  bytes: number,
  most: number,
): SovereignError {
  const found = Number.isNaN(bytes) ? "a size that is no number" : `${bytes} bytes`;
  return new SovereignError(code, `Too much: a binary patch says ${found}; allowed ${most}.`);
}

function unreadable(why: string): SovereignError {
  return new SovereignError("ERR_CHANGE_MISFIT", `A binary patch cannot be read: ${why}.`);
}

import { Inflate } from "fflate";

/** Why a file is not the zip that it should be. */
export class ZipProblem extends Error {}

/** How much is unpacked at a time: at most 1,032 times as much comes out of it. */
const SLICE_BYTES = 16 * 1024;
/** A stored block of 64 KiB needs a few slices before its bytes come out. */
const SILENT_SLICES_MAX = 8;

/**
 * Unpack deflated data, and stop as soon as more comes out than was claimed.
 *
 * @param packed untrusted
 * @param size the claim
 * @returns at most `size` bytes
 * @throws ZipProblem
 */
export function inflateWithin(packed: Uint8Array, size: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  let total = 0;
  const inflate = new Inflate((chunk) => {
    chunks.push(chunk);
    total += chunk.length;
  });
  // The library does not say where the data end. They end with the last byte exactly when they do
  // not end without it, so the same is unpacked a second time, one byte short.
  const short = new Inflate(() => undefined);
  const shortLength = packed.length - 1;
  let silent = 0;
  for (let at = 0; at < packed.length; at += SLICE_BYTES) {
    const before = total;
    const end = at + SLICE_BYTES;
    push(inflate, packed.subarray(at, end), end >= packed.length);
    if (end < shortLength) push(short, packed.subarray(at, end), false);
    else if (at < shortLength && endsWith(short, packed.subarray(at, shortLength))) {
      throw new ZipProblem("bytes behind the end of its data");
    }
    if (total > size) throw new ZipProblem(`more than the ${size} bytes that it claims`);
    // The library keeps what it has not used, and copies it each time: without this, bytes behind
    // the end of the data would cost the square of their number.
    silent = total > before ? 0 : silent + 1;
    if (silent > SILENT_SLICES_MAX) throw new ZipProblem("data that unpack to nothing");
  }
  return join(chunks, total);
}

/** True where the data end with this slice or before. */
function endsWith(inflate: Inflate, slice: Uint8Array): boolean {
  try {
    inflate.push(slice, true);
    return true;
  } catch {
    return false;
  }
}

function push(inflate: Inflate, slice: Uint8Array, last: boolean): void {
  try {
    inflate.push(slice, last);
  } catch (cause) {
    throw new ZipProblem("data that cannot be unpacked", { cause });
  }
}

function join(chunks: readonly Uint8Array[], total: number): Uint8Array {
  const whole = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

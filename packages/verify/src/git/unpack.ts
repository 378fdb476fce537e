import { inflateSync } from "node:zlib";
import { corrupt, tooMuch } from "./git-problem.ts";

/**
 * Unpack zlib data that must give exactly `size` bytes. What stands behind its end is not looked at.
 *
 * @param packed untrusted
 * @throws ERR_GIT_OBJECT_CORRUPT
 */
export function unpack(packed: Uint8Array, size: number, what: string): Uint8Array {
  const bytes = inflate(packed, size, what);
  if (bytes?.length === size) return bytes;
  throw corrupt(`${what} does not unpack to the ${size} bytes that it says`);
}

/** The same, for at most so many bytes. @throws ERR_GIT_OBJECT_LIMIT for more */
export function unpackWithin(packed: Uint8Array, bytesMax: number, what: string): Uint8Array {
  const bytes = inflate(packed, bytesMax, what);
  if (bytes === null) throw tooMuch(`${what} unpacks to more than ${bytesMax} bytes`);
  return bytes;
}

/** @returns null when more comes out than may */
function inflate(packed: Uint8Array, bytesMax: number, what: string): Uint8Array | null {
  try {
    return inflateSync(packed, { maxOutputLength: Math.max(1, bytesMax) });
  } catch (cause) {
    if (cause instanceof RangeError) return null;
    throw corrupt(`${what} cannot be unpacked`, cause);
  }
}

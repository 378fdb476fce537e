import { SovereignError } from "@sovereign/core";
import { readNamed } from "@sovereign/verify";

const BYTES_MIN = 8;
/** A passphrase file holds a passphrase, and not a disk. */
const BYTES_MAX = 64 * 1024;

/**
 * The passphrase in the file that the environment names, byte for byte, without the end of its last
 * line. Null where none is named.
 *
 * @throws ERR_FILE_UNREADABLE, also for one that is too short
 */
export function passphraseOf(
  environment: Readonly<Record<string, string | undefined>>,
): Uint8Array | null {
  const file = environment["SOVEREIGN_PASSPHRASE_FILE"];
  return file === undefined ? null : passphraseIn(file);
}

/** The passphrase in a file. @throws ERR_FILE_UNREADABLE, also for one that is too short */
export function passphraseIn(file: string): Uint8Array {
  const bytes = withoutLineEnd(readNamed(file, BYTES_MAX));
  if (bytes.length >= BYTES_MIN) return bytes;
  const text = `${file}: expected at least ${BYTES_MIN} bytes, found ${bytes.length}.`;
  throw new SovereignError("ERR_FILE_UNREADABLE", text);
}

function withoutLineEnd(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}

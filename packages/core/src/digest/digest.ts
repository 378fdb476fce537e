import { platform } from "#platform";
import type { JsonValue } from "../formats/common.ts";
import { canonicalBytes } from "../json/index.ts";

/** SHA-256 (FIPS 180-4), 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return platform.sha256(bytes);
}

/** SHA-256 as 64 lower-case hex digits. */
export function sha256Hex(bytes: Uint8Array): string {
  return platform.sha256Hex(bytes);
}

/** The digest of a JSON value: SHA-256 over its canonical form, in hex. */
export function digestOf(value: JsonValue): string {
  return platform.sha256Hex(canonicalBytes(value));
}

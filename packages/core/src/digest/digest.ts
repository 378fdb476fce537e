import { platform } from "#platform";
import type { JsonValue } from "../formats/common.ts";
import { canonicalize, keptForm } from "../json/index.ts";

/** SHA-256 (FIPS 180-4), 32 bytes. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return platform.sha256(bytes);
}

/** SHA-256 as 64 lower-case hex digits. */
export function sha256Hex(bytes: Uint8Array): string {
  return platform.sha256Hex(bytes);
}

/** The digest of a JSON value: SHA-256 over its canonical form, in hex. A frozen copy's is kept. */
export function digestOf(value: JsonValue): string {
  const form = keptForm(value);
  // A canonical form is well-formed, so the platform makes of it the bytes that `utf8Encode` makes.
  if (form === undefined) return platform.sha256Hex(canonicalize(value));
  return (form.digest ??= platform.sha256Hex(canonicalize(value)));
}

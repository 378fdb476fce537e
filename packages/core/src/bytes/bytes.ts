import { SovereignError } from "../errors/index.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 bytes of a string. */
export function utf8Encode(text: string): Uint8Array {
  return encoder.encode(text);
}

/** @throws ERR_BYTES_MALFORMED when the bytes are not UTF-8 */
export function utf8Decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw malformed("UTF-8");
  }
}

/** Lower-case hex. */
export function hexEncode(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** @throws ERR_BYTES_MALFORMED when the text is not lower-case hex of whole bytes */
export function hexDecode(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/.test(text)) throw malformed("lower-case hex");
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = Number.parseInt(text.slice(2 * at, 2 * at + 2), 16);
  }
  return bytes;
}

/** Standard base64 with padding (RFC 4648 §4). */
export function base64Encode(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    // Not spread: that goes by the iterator, which takes seven times as long.
    const part = bytes.subarray(at, at + 8192) as unknown as number[];
    binary += String.fromCharCode.apply(null, part);
  }
  return btoa(binary);
}

/**
 * Strict: one spelling for one string of bytes, so padding and unused bits are checked.
 * @throws ERR_BYTES_MALFORMED
 */
export function base64Decode(text: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw malformed("base64");
  if (!BASE64_END.test(text.slice(-4))) throw malformed("base64");
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** The last four characters: those before the padding hold no bits that are thrown away. */
const BASE64_END = /^(?:|[^=]{4}|[^=]{2}[AEIMQUYcgkosw048]=|[^=][AQgw]==)$/;

/** Not constant in time: for public values only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function malformed(expected: string): SovereignError {
  return new SovereignError("ERR_BYTES_MALFORMED", `Expected ${expected}.`);
}

import { createHash } from "node:crypto";

/**
 * Canonical JSON (RFC 8785) and digests, for programs that run alone in a sandbox: they may import
 * packages, but not this repository's. A test holds this against the runtime's own canonical form.
 */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonRecord = { [key: string]: Json };

/** Canonical bytes of a value, UTF-8. */
export function canonicalBytes(value: Json): Uint8Array {
  return new TextEncoder().encode(canonicalize(value));
}

/** Canonical text of a value: keys in UTF-16 order, no white space. */
export function canonicalize(value: Json): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "number") return canonicalNumber(value);
  if (typeof value === "string") return canonicalString(value);
  if (Array.isArray(value)) return `[${value.map(canonicalize).join(",")}]`;
  const members = Object.keys(value)
    .sort(compareCodeUnits)
    .map((key) => `${canonicalString(key)}:${canonicalize(value[key] ?? null)}`);
  return `{${members.join(",")}}`;
}

/** Read canonical JSON: any other spelling of the same value is refused. */
export function parseCanonical(bytes: Uint8Array, what: string): Json {
  const value = parseJson(bytes, what);
  if (!Buffer.from(canonicalBytes(value)).equals(bytes)) {
    throw new Error(`${what}: expected canonical JSON, found another spelling of it`);
  }
  return value;
}

/** Read JSON in any spelling; for files whose digest is pinned. */
export function parseJson(bytes: Uint8Array, what: string): Json {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Json;
  } catch {
    throw new Error(`${what}: expected JSON in UTF-8, found something else`);
  }
}

/** Lower-case hex SHA-256. */
export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function canonicalNumber(value: number): string {
  if (!Number.isFinite(value)) throw new Error("expected a finite number, found another");
  return JSON.stringify(value);
}

function canonicalString(value: string): string {
  if (!value.isWellFormed()) throw new Error("expected well-formed text, found a lone surrogate");
  return JSON.stringify(value);
}

function compareCodeUnits(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

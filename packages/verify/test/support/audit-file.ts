import { canonicalize, type JsonObject } from "@sovereign/core";
import { parseBundle } from "@sovereign/verify";

/** An audit file with the head that somebody signed for it. */
export interface AuditFile {
  readonly lines: readonly JsonObject[];
  readonly note: string;
}

/** The installation's log of a bundle, which it holds whole, as an audit file. */
export function auditOf(bundle: Uint8Array): AuditFile {
  const { key_log, logs } = parseBundle(bundle);
  return { lines: key_log as unknown as JsonObject[], note: logs.installation.checkpoint };
}

export function textOf(lines: readonly JsonObject[]): Uint8Array {
  return Buffer.from(`${lines.map((line) => canonicalize(line)).join("\n")}\n`);
}

/** The bytes as a file gives them, in chunks of this size. */
export async function* chunked(
  bytes: Uint8Array,
  size = bytes.length || 1,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

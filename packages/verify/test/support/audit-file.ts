import { readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalize, isSovereignError, type JsonObject } from "@sovereign/core";
import { parseBundle, parseTrustRoot, verifyAudit } from "@sovereign/verify";

/** An audit file with the head that somebody signed for it. */
export interface AuditFile {
  readonly lines: readonly JsonObject[];
  readonly note: string;
}

/** The installation's log of a bundle, which it holds whole, as an audit file. */
export function auditOf(bundle: Uint8Array): AuditFile {
  const { key_log, logs } = parseBundle(bundle);
  return { lines: key_log, note: logs.installation.checkpoint };
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

/** The verdict of an audit file of the vectors, and where its first failure is. */
export async function judgeAudit(
  root: string,
  one: { readonly file: string; readonly checkpoint: string | null; readonly trust: string | null },
): Promise<{ readonly verdict: string; readonly place: string | null }> {
  const read = (name: string): Buffer => readFileSync(join(root, name));
  const checkpoint =
    one.checkpoint === null || one.trust === null
      ? null
      : { note: read(one.checkpoint).toString("utf8"), trust: parseTrustRoot(read(one.trust)) };
  try {
    const report = await verifyAudit(chunked(read(one.file)), { checkpoint });
    return { verdict: report.verdict, place: report.first_failure?.place ?? null };
  } catch (error) {
    if (!isSovereignError(error)) throw error;
    return { verdict: "refused", place: null };
  }
}

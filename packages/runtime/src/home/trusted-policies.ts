import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalBytes,
  fields,
  isSovereignError,
  parseFormat,
  parseStrictJson,
  SovereignError,
  sha256Hex,
  utf8Encode,
} from "@sovereign/core";
import { z } from "zod";
import { kindAt, readOwnFile, replaceOwnFile, systemClock, timestampOf } from "../system/index.ts";
import { openDataFolder } from "./data-folder.ts";

/** A policy has at most 256 KiB, and a character of it at most six in a record. */
const BYTES_MAX = 2 * 1024 * 1024;

const trustedPolicy = z.strictObject({
  /** The file, without links: the same text elsewhere names other files and other programs. */
  path: z.string(),
  /** Of its bytes. */
  sha256: fields.digest,
  at: fields.timestamp,
  /** Its text, so that a later one can be compared; records that are older have none. */
  text: z.string().optional(),
});

/** What the user accepted. */
export interface Accepted {
  readonly sha256: string;
  readonly at: string;
  /** The policy's bytes; null where they were not kept. */
  readonly bytes: Uint8Array | null;
}

/**
 * What the user accepted as the policy at a path; null where they never did.
 *
 * @param root the data folder; nothing of it is made
 * @param path of the policy, without links
 * @throws ERR_DATA_FOLDER where what is kept is not as we write it
 */
export function acceptedPolicy(root: string, path: string): Accepted | null {
  const place = placeOf(root, path);
  const record = readOwnFile(place, BYTES_MAX);
  if (record === null) return null;
  const kept = readRecord(record, place);
  if (kept.path !== path) return null;
  const { sha256, at, text } = kept;
  const bytes = text === undefined ? null : utf8Encode(text);
  return { sha256, at, bytes: bytes !== null && sha256Hex(bytes) === sha256 ? bytes : null };
}

/** The digest under which the user accepted it. */
export function trustedDigest(root: string, path: string): string | null {
  return acceptedPolicy(root, path)?.sha256 ?? null;
}

function readRecord(bytes: Uint8Array, place: string): z.infer<typeof trustedPolicy> {
  try {
    return parseFormat(trustedPolicy, parseStrictJson(bytes), "record");
  } catch (cause) {
    if (!isSovereignError(cause)) throw cause;
    const text = `Cannot use ${place}: ${cause.message}. It says which policy you trust. Remove it, and accept the policy again with: sovereign policy trust`;
    throw new SovereignError("ERR_DATA_FOLDER", text, { path: place }, cause);
  }
}

/** Keep, on the disk, that the user accepts these bytes as the policy at a path, and no others. */
export function trustPolicy(root: string, path: string, bytes: Uint8Array): void {
  openDataFolder(root);
  const kept = folderOf(root);
  const found = kindAt(kept);
  if (found === null) mkdirSync(kept, { recursive: true, mode: 0o700 });
  else if (found !== "folder") {
    const text = `${kept}: expected a folder of ours, found a ${found}. Look into it, and move it away.`;
    throw new SovereignError("ERR_DATA_FOLDER", text, { path: kept });
  }
  const text = Buffer.from(bytes).toString("utf8");
  const record = { path, sha256: sha256Hex(bytes), at: timestampOf(systemClock), text };
  replaceOwnFile(placeOf(root, path), canonicalBytes(record));
}

function folderOf(root: string): string {
  return join(root, "trusted-policies");
}

/** One file for each, so that several at once keep all. */
function placeOf(root: string, path: string): string {
  return join(folderOf(root), `${sha256Hex(utf8Encode(path))}.json`);
}

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

const BYTES_MAX = 64 * 1024;

const trustedPolicy = z.strictObject({
  /** The file, without links: the same text elsewhere names other files and other programs. */
  path: z.string(),
  /** Of its bytes. */
  sha256: fields.digest,
  at: fields.timestamp,
});

/**
 * The digest under which the user accepted the policy at a path; null where they never did.
 *
 * @param root the data folder; nothing of it is made
 * @param path of the policy, without links
 * @throws ERR_DATA_FOLDER where what is kept is not as we write it
 */
export function trustedDigest(root: string, path: string): string | null {
  const place = placeOf(root, path);
  const bytes = readOwnFile(place, BYTES_MAX);
  if (bytes === null) return null;
  const kept = readRecord(bytes, place);
  return kept.path === path ? kept.sha256 : null;
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
  const record = { path, sha256: sha256Hex(bytes), at: timestampOf(systemClock) };
  replaceOwnFile(placeOf(root, path), canonicalBytes(record));
}

function folderOf(root: string): string {
  return join(root, "trusted-policies");
}

/** One file for each, so that several at once keep all. */
function placeOf(root: string, path: string): string {
  return join(folderOf(root), `${sha256Hex(utf8Encode(path))}.json`);
}

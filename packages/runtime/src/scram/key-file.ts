import { lstatSync } from "node:fs";
import { join } from "node:path";
import {
  canonicalize,
  type Envelope,
  fields,
  formats,
  isSovereignError,
  KeyLogReplay,
  type KeyTable,
  parseFormat,
  parseStrictJson,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { ownsFile, readOwnFile, replaceOwnFile } from "../system/index.ts";

const KEY_FILE = "keys.json";
const BYTES_MAX = 64 * 1024 * 1024;

const keyFile = z.strictObject({
  format: z.literal("sovereign.scram-keys"),
  schema_version: fields.schemaVersion,
  installation_id: fields.installationId,
  events: z
    .array(
      z.strictObject({
        event_type: fields.eventType,
        timestamp: fields.timestamp,
        envelope: formats.envelope,
      }),
    )
    .max(100_000),
});

/** One event of the key log, as the ledger holds it. */
export interface SentinelKeyEvent {
  readonly eventType: string;
  readonly timestamp: string;
  readonly envelope: Envelope;
}

/** The keys as the sentinel knows them, without a database. */
export interface SentinelKeys {
  readonly installationId: string;
  readonly keys: KeyTable;
  /** When each event of the key log was recorded, in its order. */
  readonly times: readonly string[];
}

/** Put the key log where the sentinel reads it. Whole or not at all, and durable. */
export function writeKeyFile(
  folder: string,
  installationId: string,
  events: readonly SentinelKeyEvent[],
): void {
  const text = canonicalize({
    format: "sovereign.scram-keys",
    schema_version: "1.0.0",
    installation_id: installationId,
    events: events.map(({ eventType, timestamp, envelope }) => ({
      event_type: eventType,
      timestamp,
      envelope,
    })),
  });
  const path = join(folder, KEY_FILE);
  if (ownsFile(path) && readOwnFile(path, BYTES_MAX)?.toString() === text) return;
  replaceOwnFile(path, text);
}

/** Changes whenever the file does. */
export function keyFileStamp(folder: string): string {
  const found = lstatSync(join(folder, KEY_FILE), { throwIfNoEntry: false });
  return found === undefined ? "" : `${found.ino} ${found.mtimeMs} ${found.size}`;
}

/**
 * Read the key log back, verifying every event. Null when there is none yet.
 *
 * @param known what was read before: a log that is shorter or another is refused
 * @throws ERR_SCRAM_KEYS_INVALID
 */
export function readKeyFile(folder: string, known: SentinelKeys | null): SentinelKeys | null {
  const path = join(folder, KEY_FILE);
  try {
    const bytes = readOwnFile(path, BYTES_MAX);
    if (bytes === null) return known;
    const value = parseStrictJson(bytes, { bytesMax: BYTES_MAX });
    const file = parseFormat(keyFile, value, path);
    const replay = new KeyLogReplay(file.installation_id);
    for (const { event_type, timestamp, envelope } of file.events) {
      replay.apply(envelope, event_type, timestamp);
    }
    refuseRollback(known, file.installation_id, replay.table);
    const times = file.events.map(({ timestamp }) => timestamp);
    return { installationId: file.installation_id, keys: replay.table, times };
  } catch (cause) {
    const why = isSovereignError(cause) || cause instanceof Error ? cause.message : "unknown";
    throw new SovereignError("ERR_SCRAM_KEYS_INVALID", `${path}: ${why}`, { path }, cause);
  }
}

function refuseRollback(known: SentinelKeys | null, installationId: string, keys: KeyTable): void {
  if (known === null) return;
  if (known.installationId !== installationId) throw new Error("it is another installation's");
  const same = known.keys.windows.every(
    ({ record }) => keys.get(record.key_id)?.record.purpose === record.purpose,
  );
  if (!same || keys.count < known.keys.count) throw new Error("it is older than the one known");
}

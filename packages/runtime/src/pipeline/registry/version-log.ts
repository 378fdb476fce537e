import { basename, join } from "node:path";
import {
  canonicalBytes,
  fields,
  GENESIS_HASH,
  isSovereignError,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
  sha256Hex,
} from "@sovereign/core";
import { z } from "zod";
import { type DurableFiles, listFolder, readRegular } from "../../system/index.ts";

const RECORD_BYTES_MAX = 16 * 1024;
const NAME_DIGITS = 9;

/** One switch of a model's current version. The records of a model are chained by hash. */
export const versionRecord = z.strictObject({
  model: fields.name,
  /** From 1, without gaps. */
  version: z.int().min(1),
  kind: z.enum(["promotion", "rollback"]),
  /** The model that is current from here on. */
  digest: fields.digest,
  bytes: fields.count,
  /** What was current before; null for the first. */
  before: fields.digest.nullable(),
  run_id: fields.runId,
  /** The same switch asked for twice happens once. */
  idempotency_key: z.string().min(1).max(200),
  recorded_at: fields.timestamp,
  /** SHA-256 of the record before, as it lies on disk; 64 zeros for the first. */
  previous_record: fields.digest,
});
export type VersionRecord = z.infer<typeof versionRecord>;

/** A model's history: `models/<model>/<nine digits>.json`; the highest number is current. */
export class VersionLog {
  readonly #folder: string;
  readonly #files: DurableFiles;

  constructor(folder: string, files: DurableFiles) {
    this.#folder = folder;
    this.#files = files;
  }

  /**
   * Every record of a model, oldest first; empty for a model that was never promoted.
   * @throws ERR_REGISTRY_CORRUPT when a record is missing, changed or out of its chain
   */
  async read(model: string): Promise<VersionRecord[]> {
    const names = (await listFolder(join(this.#folder, model))).sort();
    const records: VersionRecord[] = [];
    let previous = GENESIS_HASH;
    for (const [index, name] of names.entries()) {
      const path = this.#pathOf(model, index + 1);
      if (!path.endsWith(`/${name}`)) throw corrupt(path, `expected record ${index + 1}`);
      const bytes = await readRegular(path, RECORD_BYTES_MAX);
      if (bytes === null) throw corrupt(path, "the record is gone");
      const record = parseRecord(path, bytes);
      const last = records.at(-1);
      if (
        record.model !== model ||
        record.version !== index + 1 ||
        record.previous_record !== previous ||
        record.before !== (last?.digest ?? null)
      ) {
        throw corrupt(path, "the record does not follow the one before");
      }
      previous = sha256Hex(bytes);
      records.push(record);
    }
    return records;
  }

  /**
   * Add a record after `history`, unless somebody else has added one since it was read.
   * @returns the record, or null when somebody was quicker: nothing was changed then
   */
  async append(
    history: readonly VersionRecord[],
    next: Omit<VersionRecord, "version" | "before" | "previous_record">,
  ): Promise<VersionRecord | null> {
    const last = history.at(-1);
    const record: VersionRecord = {
      ...next,
      version: history.length + 1,
      before: last?.digest ?? null,
      previous_record: last === undefined ? GENESIS_HASH : sha256Hex(canonicalBytes(last)),
    };
    const path = this.#pathOf(next.model, record.version);
    const result = await this.#files.create(path, canonicalBytes(record));
    return result === "created" ? record : null;
  }

  /** The models that have records. */
  async models(): Promise<string[]> {
    return (await listFolder(this.#folder)).sort();
  }

  /**
   * Move the last record of a model away, so that the one before it counts again.
   * @param to a folder of which no record is read
   */
  async setAside(record: VersionRecord, to: string): Promise<void> {
    const path = this.#pathOf(record.model, record.version);
    const name = `${basename(path)}.${sha256Hex(canonicalBytes(record)).slice(0, 16)}`;
    await this.#files.move(path, join(to, record.model, name));
  }

  /** Make a record durable that is there: its writer may have been killed just before that. */
  async settle({ model, version }: VersionRecord): Promise<void> {
    await this.#files.settle(this.#pathOf(model, version));
  }

  #pathOf(model: string, version: number): string {
    return join(this.#folder, model, `${String(version).padStart(NAME_DIGITS, "0")}.json`);
  }
}

function parseRecord(path: string, bytes: Uint8Array): VersionRecord {
  let value: unknown;
  try {
    value = parseCanonicalJson(bytes, { bytesMax: RECORD_BYTES_MAX });
  } catch (error) {
    if (isSovereignError(error)) throw corrupt(path, error.message);
    throw error;
  }
  try {
    return parseFormat(versionRecord, value, "record", "ERR_REGISTRY_CORRUPT");
  } catch (error) {
    if (isSovereignError(error)) throw corrupt(path, error.message);
    throw error;
  }
}

function corrupt(path: string, found: string): SovereignError {
  return new SovereignError("ERR_REGISTRY_CORRUPT", `${path}: ${found}`, { path });
}

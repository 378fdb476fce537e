import { leafHash, equalBytes, sha256Hex, SovereignError } from "@sovereign/core";
import type pg from "pg";
import type { ArchivedBytes, StoredEntry } from "../ledger/index.ts";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";

const PAGE = 1000;

interface EntryRow {
  readonly index: string;
  readonly stream: string;
  readonly hash: string;
  readonly bytes: Uint8Array | null;
  readonly leaf: Uint8Array | null;
}

/** The entries and envelopes of logs, with what left the database where its archive is given. */
export class Reading {
  readonly #database: Database;
  readonly #archived: ArchivedBytes | null;

  constructor(database: Database, archived: ArchivedBytes | null = null) {
    this.#database = database;
    this.#archived = archived;
  }

  /** @throws ERR_ENTRY_ARCHIVED where an entry's bytes are in an archive that was not given */
  async *readStream(log: string, stream: string, from = 0): AsyncGenerator<StoredEntry> {
    for (let next = from; ; next += PAGE) {
      const page = await this.#entries(
        log,
        "stream = $2 and sequence >= $3 and sequence < $4 order by sequence",
        [stream, next, next + PAGE],
      );
      yield* page;
      if (page.length < PAGE) return;
    }
  }

  /**
   * All entries of a log in order, from an index on: what `immutable_audit.jsonl` holds.
   * @throws ERR_ENTRY_ARCHIVED
   */
  async *readLog(log: string, from = 0): AsyncGenerator<StoredEntry> {
    for (let next = from; ; next += PAGE) {
      const page = await this.#entries(log, "index >= $2 and index < $3 order by index", [
        next,
        next + PAGE,
      ]);
      yield* page;
      if (page.length < PAGE) return;
    }
  }

  /** Where an entry stands in its log, whether or not its bytes are in an archive. */
  async indexOf(log: string, stream: string, sequence: number): Promise<number | null> {
    return this.#database.read(claimOf(log), async (client) => {
      const found = await client.query<{ index: string }>(
        "select index from sovereign.entries where log_id = $1 and stream = $2 and sequence = $3",
        [log, stream, sequence],
      );
      const [row] = found.rows;
      return row === undefined ? null : Number(row.index);
    });
  }

  /** @throws ERR_ENTRY_ARCHIVED */
  async readEnvelopes(log: string, digests: readonly string[]): Promise<Map<string, Uint8Array>> {
    return this.#database.read(claimOf(log), async (client) => {
      const found = await client.query<{
        digest: string;
        bytes: Uint8Array | null;
        index: string | null;
      }>(
        "select digest, bytes, archived_index as index from sovereign.envelopes where log_id = $1 and digest = any($2)",
        [log, digests],
      );
      const read = new Map<string, Uint8Array>();
      for (const { digest, bytes, index } of found.rows) {
        const own = bytes ?? this.#archived?.envelope(log, digest) ?? null;
        if (own === null) throw await archivedError(client, log, Number(index));
        if (bytes === null && sha256Hex(own) !== digest)
          throw otherBytes(log, `envelope ${digest}`);
        read.set(digest, own);
      }
      return read;
    });
  }

  #entries(log: string, where: string, values: unknown[]): Promise<StoredEntry[]> {
    return this.#database.read(claimOf(log), async (client) => {
      const found = await client.query<EntryRow>(
        `select index, stream, encode(hash, 'hex') as hash, bytes, leaf from sovereign.entries where log_id = $1 and ${where}`,
        [log, ...values],
      );
      const entries: StoredEntry[] = [];
      for (const row of found.rows) {
        const index = Number(row.index);
        const bytes = row.bytes ?? this.#fromArchive(log, index, row);
        if (bytes === null) throw await archivedError(client, log, index);
        const aside = row.stream.startsWith("set-aside/") ? { aside: true } : {};
        entries.push({ index, hash: row.hash, bytes, ...aside });
      }
      return entries;
    });
  }

  /** An archive is a file that anybody may have changed: what it says is held against the row. */
  #fromArchive(log: string, index: number, { hash, leaf }: EntryRow): Uint8Array | null {
    const bytes = this.#archived?.entry(log, index) ?? null;
    if (bytes === null) return null;
    const same = sha256Hex(bytes) === hash && leaf !== null && equalBytes(leafHash(bytes), leaf);
    if (!same) throw otherBytes(log, `entry ${index}`);
    return bytes;
  }
}

function otherBytes(log: string, what: string): SovereignError {
  const text = `The archive has other bytes for ${what} of the log ${log} than the ledger recorded. Nothing of it was used.`;
  return new SovereignError("ERR_ARCHIVE_INVALID", text, { log });
}

/** Names the archive that was recorded last of those that hold an entry. */
export async function archivedError(
  client: pg.ClientBase,
  log: string,
  index: number,
): Promise<SovereignError> {
  const found = await client.query<{ stream: string; digest: string | null }>(
    "select e.stream, a.digest from sovereign.entries e left join sovereign.archived_streams s on s.log_id = e.log_id and s.stream = e.stream and s.count > e.sequence left join sovereign.archives a on a.log_id = s.log_id and a.digest = s.digest where e.log_id = $1 and e.index = $2 order by a.recorded_index desc nulls last limit 1",
    [log, index],
  );
  const { stream = "", digest = null } = found.rows[0] ?? {};
  const archive = digest === null ? "no archive that is recorded" : `the archive ${digest}`;
  const text = `Entry ${index} of the log ${log}, of ${stream}, is in ${archive}. To have it in the database again, type: sovereign ledger restore FILE. Without that, bundle export and audit export take it from --archive FILE`;
  return new SovereignError("ERR_ENTRY_ARCHIVED", text, { log, index, archive: digest ?? "" });
}

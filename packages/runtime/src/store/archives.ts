import { SovereignError } from "@sovereign/core";
import type pg from "pg";
import type { StreamHead } from "../ledger/index.ts";
import { asOwner, type Where } from "./as-owner.ts";
import { claimOf } from "./claims.ts";
import { codeOf, type Database } from "./database.ts";

const PAGE = 500;
/** The streams are named in each of its questions, so one brings many. */
const ENTRIES_PAGE = 2000;
/** SQLSTATE: one of the runs is in use. */
const IN_USE = "55006";

/** A run that could be archived, as its rows say. What its entries say decides. */
export interface OldRun {
  readonly runId: string;
  readonly head: StreamHead;
  /** The bytes of its last entry. */
  readonly last: Uint8Array;
}

/** An archive that was recorded. */
export interface RecordedArchive {
  /** The SHA-256 of the file. */
  readonly digest: string;
  /** Where the installation's log says so. */
  readonly recordedIndex: number;
  /** Of its entries, how many have their bytes in the database. */
  readonly inDatabase: number;
}

/** An entry of a log, with its place in its stream. */
export interface LogRow {
  readonly index: number;
  readonly stream: string;
  readonly sequence: number;
  readonly hash: string;
  /** Null where they are in an archive. */
  readonly bytes: Uint8Array | null;
}

/** What one step takes out of the database, or puts back. */
export interface Batch {
  readonly entries: readonly { readonly index: number; readonly bytes: Uint8Array }[];
  readonly envelopes: readonly {
    readonly digest: string;
    /** Asked for where they come back. */
    readonly bytes: () => Uint8Array;
    /** Of the entry that names it. */
    readonly index: number;
  }[];
}

/** What archives need to know of a tenant's log. */
export interface ArchiveRows {
  /** Runs that have ended and of which nothing is in an archive, by id. */
  oldRuns(): AsyncGenerator<OldRun>;
  /** The entries of these streams, in the order of the log. */
  entriesOf(streams: readonly string[]): AsyncGenerator<LogRow>;
  /** Envelopes in the order of these digests; null where they are in an archive. */
  envelopesOf(
    digests: readonly string[],
  ): AsyncGenerator<{ readonly digest: string; readonly bytes: Uint8Array | null }>;
  recorded(): Promise<RecordedArchive[]>;
}

export function archiveRows(database: Database, tenant: string): ArchiveRows {
  const read = <T>(work: (client: pg.ClientBase) => Promise<T>): Promise<T> =>
    database.read(claimOf(tenant), work);
  return {
    oldRuns: () => oldRuns(read),
    entriesOf: (streams) => entriesOf(read, tenant, streams),
    envelopesOf: (digests) => envelopesOf(read, tenant, digests),
    recorded: () => read((client) => recorded(client, tenant)),
  };
}

type Read = <T>(work: (client: pg.ClientBase) => Promise<T>) => Promise<T>;

/** An incident that is not resolved keeps the run that it is about, and each that speaks of it. */
const OLD_RUNS = `select r.run_id, l.sequence + 1 as count, encode(l.hash, 'hex') as hash, l.bytes
  from sovereign.runs r cross join lateral (
    select e.sequence, e.hash, e.bytes from sovereign.entries e
    where e.log_id = r.log_id and e.stream = r.run_id order by e.sequence desc limit 1) l
  where r.run_id > $1 and r.run_id ~ '^run_[a-z0-9]{20}$'
    and r.status not in ('queued', 'running', 'pending') and r.sealed_hash is not null
    and not exists (select from sovereign.entries e
      where e.log_id = r.log_id and e.stream = r.run_id and e.bytes is null)
    and not exists (select from sovereign.incidents i
      where i.log_id = r.log_id and i.state <> 'resolved' and i.run_id = r.run_id)
    and not exists (select from sovereign.incident_entries n
      join sovereign.incidents i using (log_id, incident_id)
      where n.log_id = r.log_id and n.stream = r.run_id and i.state <> 'resolved')
  order by r.run_id limit ${PAGE}`;

async function* oldRuns(read: Read): AsyncGenerator<OldRun> {
  for (let after = ""; ; ) {
    const page = await read(async (client) => {
      const found = await client.query<{
        run_id: string;
        count: string;
        hash: string;
        bytes: Uint8Array;
      }>(OLD_RUNS, [after]);
      return found.rows;
    });
    for (const { run_id: runId, count, hash, bytes } of page) {
      yield { runId, head: { count: Number(count), hash }, last: bytes };
      after = runId;
    }
    if (page.length < PAGE) return;
  }
}

async function* entriesOf(
  read: Read,
  log: string,
  streams: readonly string[],
): AsyncGenerator<LogRow> {
  for (let after = -1; ; ) {
    const page = await read(async (client) => {
      const found = await client.query<{
        index: string;
        stream: string;
        sequence: string;
        hash: string;
        bytes: Uint8Array | null;
      }>(
        `select index, stream, sequence, encode(hash, 'hex') as hash, bytes from sovereign.entries where log_id = $1 and stream = any($2) and index > $3 order by index limit ${ENTRIES_PAGE}`,
        [log, streams, after],
      );
      return found.rows;
    });
    for (const row of page) {
      const index = Number(row.index);
      yield { ...row, index, sequence: Number(row.sequence) };
      after = index;
    }
    if (page.length < ENTRIES_PAGE) return;
  }
}

async function* envelopesOf(
  read: Read,
  log: string,
  digests: readonly string[],
): AsyncGenerator<{ digest: string; bytes: Uint8Array | null }> {
  for (let from = 0; from < digests.length; from += PAGE) {
    const page = digests.slice(from, from + PAGE);
    yield* await read(async (client) => {
      const found = await client.query<{ digest: string; bytes: Uint8Array | null }>(
        "select digest, bytes from sovereign.envelopes where log_id = $1 and digest = any($2) order by array_position($2, digest)",
        [log, page],
      );
      return found.rows;
    });
  }
}

async function recorded(client: pg.ClientBase, log: string): Promise<RecordedArchive[]> {
  const found = await client.query<{ digest: string; at: string; left: string }>(
    "select a.digest, a.recorded_index as at, (select count(*) from sovereign.archived_streams s join sovereign.entries e on e.log_id = s.log_id and e.stream = s.stream and e.sequence < s.count where s.log_id = a.log_id and s.digest = a.digest and e.bytes is not null) as left from sovereign.archives a where a.log_id = $1 order by a.recorded_index",
    [log],
  );
  return found.rows.map(({ digest, at, left }) => ({
    digest,
    recordedIndex: Number(at),
    inDatabase: Number(left),
  }));
}

/** What the database's owner alone may do with archives. */
export interface ArchiveKeeper {
  /**
   * Record which runs an archive holds, after the entry at `recordedIndex` of the installation's log.
   * @throws ERR_ARCHIVE_REFUSED where one of them is not one to archive any more
   */
  record(
    digest: string,
    recordedIndex: number,
    streams: ReadonlyMap<string, StreamHead>,
  ): Promise<void>;
  /** @returns how many entries left; those that had left before are not among them */
  takeOut(batch: Batch): Promise<number>;
  /** @returns how many entries came back */
  putBack(batch: Batch): Promise<number>;
}

/** @throws ERR_POSTGRES_…, ERR_STORE_UNAVAILABLE */
export async function keepArchives<T>(
  where: Where,
  log: string,
  work: (keeper: ArchiveKeeper) => Promise<T>,
): Promise<T> {
  return asOwner(where, (client) => work(keeperOf(client, log)));
}

function keeperOf(client: pg.Client, log: string): ArchiveKeeper {
  const count = async (text: string, values: unknown[]): Promise<number> =>
    Number((await client.query<{ count: string }>(text, values)).rows[0]?.count ?? 0);
  return {
    record: async (digest, recordedIndex, streams) => {
      const heads = [...streams.values()];
      const values = [
        [...streams.keys()],
        heads.map((head) => head.count),
        heads.map(({ hash }) => Buffer.from(hash, "hex")),
      ];
      try {
        await client.query("select sovereign.record_archive($1, $2, $3, $4, $5, $6)", [
          log,
          digest,
          recordedIndex,
          ...values,
        ]);
      } catch (cause) {
        if (codeOf(cause) !== IN_USE) throw cause;
        const why = cause instanceof Error ? cause.message : "one of its runs is in use";
        const text = `The archive was not recorded, and nothing left the database: ${why}: it has grown, is at work, or has an incident that is not resolved. Type the command again with another --out.`;
        throw new SovereignError("ERR_ARCHIVE_REFUSED", text, { digest }, cause);
      }
    },
    takeOut: ({ entries, envelopes }) =>
      count("select sovereign.take_out($1, $2, $3, $4) as count", [
        log,
        entries.map(({ index }) => index),
        envelopes.map(({ digest }) => digest),
        envelopes.map(({ index }) => index),
      ]),
    putBack: ({ entries, envelopes }) =>
      count("select sovereign.put_back($1, $2, $3, $4, $5) as count", [
        log,
        entries.map(({ index }) => index),
        entries.map(({ bytes }) => Buffer.from(bytes)),
        envelopes.map(({ digest }) => digest),
        envelopes.map(({ bytes }) => Buffer.from(bytes())),
      ]),
  };
}

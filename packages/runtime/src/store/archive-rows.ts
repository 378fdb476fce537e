import type pg from "pg";
import type { ArchiveRows, LogRow, OldRun, RecordedArchive } from "./archives.ts";
import { claimOf } from "./claims.ts";
import type { Database } from "./database.ts";

const PAGE = 500;
/** The streams are named in each of its questions, so one brings many. */
const ENTRIES_PAGE = 2000;

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

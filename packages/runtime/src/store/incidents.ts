import type { Incident } from "@sovereign/core";
import type { StoredEntry } from "../ledger/index.ts";
import type { IncidentFilter, IncidentRows, PlacedIncident } from "../runs/index.ts";
import { claimOf } from "./claims.ts";
import { codeOf, type Database } from "./database.ts";
import { archivedError } from "./reading.ts";

const COLUMNS =
  "incident_id, kind, subject, severity, state, summary, code, run_id, step_id, occurrences, raised_at, last_at, acknowledged_by, acknowledged_at, resolved_by, resolved_at, note";

type IncidentRecord = Omit<Incident, "occurrences"> & { readonly occurrences: string };

/** The rows of a tenant's incidents, as they stand. Nothing of them is believed. */
export function incidentRows(database: Database, tenant: string): IncidentRows {
  const claim = claimOf(tenant);
  const read = (where: string, values: unknown[]): Promise<Incident[]> =>
    database.read(claim, async (client) => {
      const found = await client.query<IncidentRecord>(
        `select ${COLUMNS} from sovereign.incidents ${where}`,
        values,
      );
      return found.rows.map(({ occurrences, ...row }) => ({
        ...row,
        occurrences: Number(occurrences),
      }));
    });
  return {
    list: ({ limit, state, kind }: IncidentFilter) =>
      read(
        "where ($2::text is null or state = $2 or ($2 = 'unresolved' and state <> 'resolved')) and ($3::text is null or kind = $3) order by last_at desc, incident_id limit $1",
        [limit, state, kind],
      ),
    find: async (id) => (await read("where incident_id = $1", [id]))[0] ?? null,
    ofRun: (runId) => read("where run_id = $1 order by incident_id limit 20000", [runId]),
    ids: () =>
      database.read(claim, async (client) => {
        const found = await client.query<{ incident_id: string }>(
          "select incident_id from sovereign.incidents order by incident_id",
        );
        return found.rows.map(({ incident_id }) => incident_id);
      }),
    evidenceOf: (id, limit = 1000) => evidenceOf(database, tenant, id, limit),
    entriesIn: (stream) => entriesIn(database, claim, stream),
    denialsSince: (instant) =>
      database.read(claim, async (client) => {
        const found = await client.query<{ count: string }>(
          "select count(*) as count from sovereign.trace_steps where category = 'denied' and started_at >= $1",
          [instant],
        );
        return Number(found.rows[0]?.count);
      }),
    replace: async (logSize, incidents, entries) => {
      const of = (rows: readonly object[]): object[] =>
        rows.map((row) => ({ log_id: tenant, ...row }));
      const made = JSON.stringify({ incidents: of(incidents), entries: of(entries) });
      try {
        await database.read(claim, (client) =>
          client.query("select sovereign.replace_incidents($1, $2)", [logSize, made]),
        );
        return true;
      } catch (error) {
        if (codeOf(error) === "40001") return false;
        throw error;
      }
    },
  };
}

function entriesIn(database: Database, claim: string, stream: string): Promise<PlacedIncident[]> {
  return database.read(claim, async (client) => {
    const found = await client.query<{ stream: string; sequence: string; incident_id: string }>(
      "select stream, sequence, incident_id from sovereign.incident_entries where stream = $1 order by sequence limit 20000",
      [stream],
    );
    return found.rows.map((row) => ({ ...row, sequence: Number(row.sequence) }));
  });
}

function evidenceOf(
  database: Database,
  tenant: string,
  id: string,
  limit: number,
): Promise<StoredEntry[]> {
  return database.read(claimOf(tenant), async (client) => {
    const found = await client.query<{ index: string; hash: string; bytes: Uint8Array | null }>(
      "select e.index, encode(e.hash, 'hex') as hash, e.bytes from sovereign.incident_entries i join sovereign.entries e using (log_id, stream, sequence) where i.incident_id = $1 order by e.index desc limit $2",
      [id, limit],
    );
    const entries: StoredEntry[] = [];
    for (const { bytes, hash, ...row } of found.rows.reverse()) {
      const index = Number(row.index);
      if (bytes === null) throw await archivedError(client, tenant, index);
      entries.push({ index, hash, bytes });
    }
    return entries;
  });
}

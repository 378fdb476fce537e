import type { Place } from "./place.ts";

/** What somebody with the database's own role does to a run, and where the proof must see it. */
export const DAMAGES: readonly (readonly [string, string, RegExp])[] = [
  [
    "a changed status of the run",
    "update sovereign.runs set status = 'failed' where run_id = $1",
    /^runs.status/,
  ],
  [
    "a changed plan",
    "update sovereign.runs set plan = convert_to(replace(convert_from(plan, 'UTF8'), 'run-proof-v4', 'run-proof-v5'), 'UTF8') where run_id = $1",
    /^runs.plan/,
  ],
  ["a dropped run", "delete from sovereign.runs where run_id = $1", /^runs$/],
  [
    "a changed output of a step",
    "update sovereign.trace_steps set output = replace(output, '200', '201') where run_id = $1",
    /^trace_steps\[0\].output/,
  ],
  [
    "a changed cost of a step",
    "update sovereign.trace_steps set cost_microusd = 7 where run_id = $1",
    /^trace_steps\[0\].cost/,
  ],
  ["a dropped step", "delete from sovereign.trace_steps where run_id = $1", /^trace_steps\[0\]/],
  [
    "a changed status of the trace",
    "update sovereign.traces set status = 'running' where run_id = $1",
    /^traces.status/,
  ],
  [
    "a changed root of the trace",
    "update sovereign.traces set root_hash = repeat('0', 64) where run_id = $1",
    /^traces.root_hash/,
  ],
  [
    "a changed entry of the ledger",
    "update sovereign.entries set bytes = convert_to(replace(convert_from(bytes, 'UTF8'), 'http_call', 'http_coll'), 'UTF8') where stream = $1 and sequence = 1",
    /^entries/,
  ],
  [
    "a dropped entry of the ledger",
    "delete from sovereign.entries where stream = $1 and sequence = 2",
    /^entries/,
  ],
];

/** Whoever finds a damage raises an incident: its rows go with its entry. */
const TABLES = ["runs", "traces", "trace_steps", "entries", "incidents", "incident_entries"];

/** Do one damage, let somebody look, and put all rows back. The owner switches the triggers off for it. */
export async function damaged<T>(
  place: Place,
  run: string,
  sql: string,
  look: () => Promise<T>,
): Promise<T> {
  await place.rows("set session_replication_role = replica");
  for (const table of TABLES) {
    await place.rows(`drop table if exists public.kept_${table}`);
    await place.rows(`create table public.kept_${table} as select * from sovereign.${table}`);
  }
  try {
    await place.rows(sql, run);
    return await look();
  } finally {
    for (const table of TABLES) await restore(place, table);
    await place.rows("set session_replication_role = origin");
  }
}

async function restore(place: Place, table: string): Promise<void> {
  const columns = await place.rows(
    "select attname as name from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
    `sovereign.${table}`,
  );
  const names = columns.map(({ name }) => `"${String(name)}"`).join(", ");
  await place.rows(`delete from sovereign.${table}`);
  await place.rows(
    `insert into sovereign.${table} (${names}) select ${names} from public.kept_${table}`,
  );
  await place.rows(`drop table public.kept_${table}`);
}

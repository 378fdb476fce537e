import {
  type IncidentChange,
  incidentChangeOf,
  isSovereignError,
  type PlacedEntry,
} from "@sovereign/core";
import type { StoredEntry } from "../../ledger/index.ts";
import type { IncidentRows } from "../../runs/index.ts";
import { Difference } from "../runs/row-differences.ts";
import { IncidentBook } from "./rebuild-incidents.ts";

/** Of an incident with more entries than this only what never changes is compared. */
const ENTRIES_MAX = 1000;

/** @throws Difference where the rows of a run's incidents are not what the entries say */
export async function expectIncidents(
  rows: IncidentRows,
  runId: string,
  entries: readonly PlacedEntry[],
): Promise<void> {
  const raised = entries.flatMap(({ entry }) => incidentChangeOf(entry) ?? []);
  const placed = await rows.entriesIn(runId);
  const stray = placed.find(
    (row) =>
      !raised.some(
        ({ sequence, incident_id }) => sequence === row.sequence && incident_id === row.incident_id,
      ),
  );
  if (stray !== undefined) {
    throw new Difference(`incident_entries[${stray.sequence}]`, "no entry speaks of it");
  }
  const missing = raised.find(({ sequence }) => !placed.some((row) => row.sequence === sequence));
  if (missing !== undefined) {
    throw new Difference(`incident_entries[${missing.sequence}]`, "the row is gone");
  }
  const one = new Map<string, Named>(raised.map((change) => [change.incident_id, change]));
  // Others may have been raised about the run apart from it.
  for (const row of await rows.ofRun(runId)) {
    if (!one.has(row.incident_id)) one.set(row.incident_id, row);
  }
  for (const named of one.values()) await expectIncident(rows, named);
}

type Named = Pick<IncidentChange, "incident_id" | "kind" | "subject">;

async function expectIncident(rows: IncidentRows, named: Named): Promise<void> {
  const { incident_id: id, kind, subject } = named;
  const place = `incidents[${id}]`;
  const book = new IncidentBook();
  const evidence = await evidenceHere(rows, id);
  for (const stored of evidence ?? []) book.follow(stored);
  const [made] = book.incidents;
  const row = await rows.find(id);
  if (row === null) throw new Difference(place, "the row is gone");
  if (evidence !== null && made === undefined) {
    throw new Difference(place, "no entry that its rows name speaks of it");
  }
  const isWhole = made !== undefined && (evidence?.length ?? ENTRIES_MAX) < ENTRIES_MAX;
  const expected = isWhole ? made : { kind, subject };
  for (const [name, said] of Object.entries(expected)) {
    const found = row[name as keyof typeof row];
    if (found === said) continue;
    const text = `the row says ${String(found)}; the entries say ${String(said)}`;
    throw new Difference(`${place}.${name}`, text);
  }
}

/** Null where an older run raised it, too, whose entries are in an archive. */
async function evidenceHere(rows: IncidentRows, id: string): Promise<StoredEntry[] | null> {
  try {
    return await rows.evidenceOf(id, ENTRIES_MAX);
  } catch (error) {
    if (isSovereignError(error, "ERR_ENTRY_ARCHIVED")) return null;
    throw error;
  }
}

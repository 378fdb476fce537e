import { incidentChangeOf, type PlacedEntry } from "@sovereign/core";
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
  for (const id of new Set(raised.map(({ incident_id }) => incident_id))) {
    await expectIncident(rows, id);
  }
}

async function expectIncident(rows: IncidentRows, id: string): Promise<void> {
  const place = `incidents[${id}]`;
  const book = new IncidentBook();
  const evidence = await rows.evidenceOf(id, ENTRIES_MAX);
  for (const stored of evidence) book.follow(stored);
  const [expected] = book.incidents;
  const row = await rows.find(id);
  if (row === null || expected === undefined) throw new Difference(place, "the row is gone");
  const names = evidence.length < ENTRIES_MAX ? Object.keys(expected) : ["kind", "subject"];
  for (const name of names) {
    const [found, said] = [row[name as keyof typeof row], expected[name as keyof typeof row]];
    if (found === said) continue;
    const text = `the row says ${String(found)}; the entries say ${String(said)}`;
    throw new Difference(`${place}.${name}`, text);
  }
}

import {
  canonicalize,
  foldIncident,
  type Incident,
  incidentChangeOf,
  type LedgerEntry,
  parseCanonicalJson,
  SovereignError,
} from "@sovereign/core";
import type { StoredEntry } from "../../ledger/index.ts";
import type { PlacedIncident } from "../../runs/index.ts";
import type { Store } from "../../store/index.ts";

/** What was found of the rows before they were made again. */
export interface RebuildReport {
  readonly entries: number;
  readonly incidents: number;
  /** Those whose rows were not what the ledger says. */
  readonly mended: readonly string[];
  /** Those of which no entry of the ledger speaks: somebody invented their rows. */
  readonly removed: readonly string[];
}

const ATTEMPTS = 5;

/**
 * Make the rows of a tenant's incidents again, from the whole of its log.
 * @throws ERR_STREAM_CONFLICT where the log grows each time
 */
export async function rebuildIncidents(store: Store, tenantId: string): Promise<RebuildReport> {
  const book = new IncidentBook();
  let size = 0;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    for await (const stored of store.readLog(tenantId, size)) {
      size = stored.index + 1;
      if (stored.aside !== true) book.follow(stored);
    }
    const rows = store.incidents(tenantId);
    const mended: string[] = [];
    const known = new Set(book.incidents.map(({ incident_id }) => incident_id));
    const removed = (await rows.ids()).filter((id) => !known.has(id));
    for (const one of book.incidents) {
      const found = await rows.find(one.incident_id);
      if (found === null || canonicalize({ ...found }) !== canonicalize({ ...one }))
        mended.push(one.incident_id);
    }
    if (await rows.replace(size, book.incidents, book.entries)) {
      return { entries: size, incidents: book.incidents.length, mended, removed };
    }
  }
  const text = "The log grew each time that it was read. Nothing was changed; try again.";
  throw new SovereignError("ERR_STREAM_CONFLICT", text);
}

/** Incidents as the entries of a log say them. */
export class IncidentBook {
  readonly #incidents = new Map<string, Incident>();
  readonly entries: PlacedIncident[] = [];

  /** @param stored the next entry in the order of the log */
  follow({ bytes }: StoredEntry): void {
    const entry = parseCanonicalJson(bytes) as unknown as LedgerEntry;
    const change = incidentChangeOf(entry);
    if (change === null) return;
    const { incident_id } = change;
    this.entries.push({ stream: entry.stream, sequence: entry.sequence, incident_id });
    const after = foldIncident(this.#incidents.get(incident_id) ?? null, change);
    if (after !== null) this.#incidents.set(incident_id, after);
  }

  get incidents(): readonly Incident[] {
    return [...this.#incidents.values()];
  }
}

import {
  foldIncident,
  type Incident,
  incidentChangeOf,
  parseCanonicalJson,
  type PlacedEntry,
  SovereignError,
} from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { createEntry, EMPTY_STREAM } from "../../../src/ledger/index.ts";
import type { IncidentRows } from "../../../src/runs/index.ts";
import { expectIncidents } from "../../../src/services/incidents/incident-differences.ts";
import { fieldsOf, newStream } from "../../support/entries.ts";

/** A run that raises an incident which another run raised before: that one's entries are elsewhere. */
const stream = newStream();
const { bytes, hash } = createEntry(EMPTY_STREAM, {
  ...fieldsOf(stream, ""),
  eventType: "incident.raised",
  data: { kind: "budget", subject: "the month", summary: "no room" },
});
const entry = parseCanonicalJson(bytes) as unknown as PlacedEntry["entry"];
const entries = [{ index: 9, hash, entry }];

function rowsWith(changed: Partial<Incident>): IncidentRows {
  const change = incidentChangeOf(entry);
  const row = change === null ? null : foldIncident(null, change);
  if (row === null) throw new Error("it raises none");
  const rows: Partial<IncidentRows> = {
    entriesIn: () => Promise.resolve([{ stream, sequence: 0, incident_id: row.incident_id }]),
    ofRun: () => Promise.resolve([row]),
    find: () => Promise.resolve({ ...row, occurrences: 7, ...changed }),
    evidenceOf: () => Promise.reject(new SovereignError("ERR_ENTRY_ARCHIVED", "elsewhere")),
  };
  return rows as IncidentRows;
}

describe("an incident of which entries are in an archive", () => {
  it("keeps no run from being proved that raises it again", async () => {
    await expectIncidents(rowsWith({}), stream, entries);
  });

  it.each([{ kind: "kill" }, { subject: "the year" }])(
    "is still about the same: %j",
    async (changed) => {
      await expect(expectIncidents(rowsWith(changed), stream, entries)).rejects.toThrow(
        /the row says/,
      );
    },
  );
});

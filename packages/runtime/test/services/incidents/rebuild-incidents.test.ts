import { type Incident, incidentIdOf, type JsonObject } from "@sovereign/core";
import { beforeEach, describe, expect, it } from "vitest";
import { EMPTY_STREAM, type StoredEntry, StreamWriter } from "../../../src/ledger/index.ts";
import type { IncidentRows } from "../../../src/runs/index.ts";
import { rebuildIncidents } from "../../../src/services/incidents/rebuild-incidents.ts";
import type { Store } from "../../../src/store/index.ts";
import { RUN } from "../../support/evidence.ts";
import { MemoryStore } from "../../support/memory-store.ts";

/** A tenant's log, and rows of incidents that whoever owns the database may have changed. */
class Rows {
  readonly ledger = new MemoryStore({ keysElsewhere: true });
  rows: Incident[] = [];

  get store(): Store {
    const { ledger } = this;
    const own = this as Rows;
    const incidents: Partial<IncidentRows> = {
      find: (id) => Promise.resolve(own.rows.find((one) => one.incident_id === id) ?? null),
      ids: () => Promise.resolve(own.rows.map((one) => one.incident_id)),
      replace: (_size, made: readonly Incident[]) => {
        own.rows = structuredClone([...made]);
        return Promise.resolve(true);
      },
    };
    async function* readLog(log: string, from: number): AsyncGenerator<StoredEntry> {
      await Promise.resolve();
      yield* (ledger.logs.get(log) ?? []).slice(from);
    }
    return { readLog, incidents: () => incidents } as unknown as Store;
  }
}

let rows: Rows;
const raised = (subject: string): JsonObject => ({
  kind: "kill",
  code: "ERR_EFFECT_KILLED",
  summary: `${subject} was killed`,
  subject,
});
beforeEach(async () => {
  rows = new Rows();
  const writer = new StreamWriter(rows.ledger, "acme", RUN, EMPTY_STREAM);
  for (const subject of ["one", "two"]) {
    const place = { tenantId: "acme", runId: RUN, timestamp: "2026-01-01T00:00:00.000Z" };
    const event = { eventType: "incident.raised", severity: "WARNING" } as const;
    await writer.append({ ...place, ...event, data: raised(subject) });
  }
  await rebuildIncidents(rows.store, "acme");
});

const idOf = (subject: string): string => incidentIdOf("acme", "kill", subject);

describe("making the rows of incidents again", () => {
  it("names none where they are what the log says", async () => {
    const report = await rebuildIncidents(rows.store, "acme");
    expect(report).toEqual({ entries: 2, incidents: 2, mended: [], removed: [] });
  });

  it("names each row that it changes, makes or takes away", async () => {
    const [one, two] = rows.rows as [Incident, Incident];
    const invented = [idOf("three"), idOf("four")].sort();
    rows.rows = [
      { ...one, state: "resolved" },
      ...invented.map((incident_id) => ({ ...two, incident_id })),
    ];
    const report = await rebuildIncidents(rows.store, "acme");
    expect([...report.mended].sort()).toEqual([idOf("one"), idOf("two")].sort());
    expect([...report.removed].sort()).toEqual(invented);
    expect(rows.rows).toEqual([one, two]);
  });
});

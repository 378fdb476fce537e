import {
  type Incident,
  type JsonObject,
  type LedgerEntry,
  parseCanonicalJson,
  SovereignError,
} from "@sovereign/core";
import type { Installation } from "../../installation/index.ts";
import type { IncidentFilter } from "../../runs/index.ts";
import type { Opened } from "../opened.ts";
import { rebuildIncidents, type RebuildReport } from "./rebuild-incidents.ts";
import { checkWho, recordOperation } from "./record-operation.ts";

/** An incident with the entries that speak of it, in the order of the log. */
export interface IncidentReport extends Incident {
  readonly entries: readonly {
    readonly index: number;
    readonly stream: string;
    readonly sequence: number;
    readonly event: string;
    readonly at: string;
    readonly summary: string | null;
  }[];
}

export interface IncidentServices {
  listIncidents(tenantId: string, wanted: IncidentFilter): Promise<readonly Incident[]>;
  showIncident(tenantId: string, incidentId: string): Promise<IncidentReport>;
  /** Say that somebody looks at it. @param by who says so */
  acknowledgeIncident(tenantId: string, incidentId: string, by: string): Promise<Incident>;
  /** Say that it is done with. @param note why */
  resolveIncident(
    tenantId: string,
    incidentId: string,
    by: string,
    note: string,
  ): Promise<Incident>;
  /** Make the rows of incidents again, from the ledger. */
  rebuildIncidents(tenantId: string): Promise<RebuildReport>;
}

export function incidentServices(opened: Opened): IncidentServices {
  return {
    listIncidents: (tenantId, wanted) =>
      opened(({ store }) => store.incidents(tenantId).list(wanted)),
    showIncident: (tenantId, id) => opened((installation) => show(installation, tenantId, id)),
    acknowledgeIncident: (tenantId, id, by) =>
      opened(async (installation) => {
        const found = await openIncident(installation, tenantId, id);
        if (found.state === "acknowledged") return found;
        const data = { incident_id: id, by: checkWho(by) };
        return say(installation, tenantId, found, "incident.acknowledged", data);
      }),
    resolveIncident: (tenantId, id, by, note) =>
      opened(async (installation) => {
        const found = await openIncident(installation, tenantId, id);
        const data = { incident_id: id, by: checkWho(by), note: checkNote(note) };
        return say(installation, tenantId, found, "incident.resolved", data);
      }),
    rebuildIncidents: (tenantId) => opened(({ store }) => rebuildIncidents(store, tenantId)),
  };
}

async function say(
  installation: Installation,
  tenantId: string,
  { incident_id, run_id: runId }: Incident,
  event: "incident.acknowledged" | "incident.resolved",
  data: JsonObject,
): Promise<Incident> {
  await recordOperation(installation, tenantId, {
    event,
    severity: "INFO",
    data,
    runId,
  });
  return findIncident(installation, tenantId, incident_id);
}

function checkNote(note: string): string {
  if (note.trim() !== "" && note.length <= 2000 && !note.includes("\0") && note.isWellFormed()) {
    return note;
  }
  const text = 'Expected 1 to 2000 characters that say why it is done with. Type: --note "TEXT"';
  throw new SovereignError("ERR_REQUEST_INVALID", text);
}

/** @throws ERR_INCIDENT_NOT_FOUND */
async function findIncident(
  { store }: Installation,
  tenantId: string,
  incidentId: string,
): Promise<Incident> {
  const found = await store.incidents(tenantId).find(incidentId);
  if (found !== null) return found;
  const text = `Tenant ${tenantId} has no incident ${incidentId}. Its incidents: sovereign incidents list --tenant ${tenantId}`;
  throw new SovereignError("ERR_INCIDENT_NOT_FOUND", text);
}

/** @throws ERR_INCIDENT_RESOLVED where there is nothing left to say */
async function openIncident(
  installation: Installation,
  tenantId: string,
  incidentId: string,
): Promise<Incident> {
  const found = await findIncident(installation, tenantId, incidentId);
  if (found.state !== "resolved") return found;
  const text = `${found.resolved_by ?? "Somebody"} resolved incident ${incidentId} already, at ${found.resolved_at ?? "an unknown time"}. It opens again when it happens again.`;
  throw new SovereignError("ERR_INCIDENT_RESOLVED", text);
}

async function show(
  installation: Installation,
  tenantId: string,
  incidentId: string,
): Promise<IncidentReport> {
  const found = await findIncident(installation, tenantId, incidentId);
  const stored = await installation.store.incidents(tenantId).evidenceOf(incidentId);
  const entries = stored.map(({ index, bytes }) => {
    const entry = parseCanonicalJson(bytes) as unknown as LedgerEntry;
    const { stream, sequence, event_type: event, timestamp: at, data } = entry;
    const { summary = null } = data;
    return {
      index,
      stream,
      sequence,
      event,
      at,
      summary: typeof summary === "string" ? summary : null,
    };
  });
  return { ...found, entries };
}

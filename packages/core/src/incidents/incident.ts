import { deepFreeze } from "../json/index.ts";
import { digestOf } from "../digest/index.ts";
import type { JsonValue, LedgerEntry, Severity } from "../formats/index.ts";

/** What a person has to look at, by what it is. */
export const INCIDENT_KINDS = deepFreeze([
  "budget",
  "repeated_denial",
  "kill",
  "integrity",
  "unknown_outcome",
  "open_breaker",
  "lost_worker",
  "stuck_run",
  "enforcement",
] as const);
export type IncidentKind = (typeof INCIDENT_KINDS)[number];

export type IncidentState = "open" | "acknowledged" | "resolved";

/** What an entry says of an incident: what its row is made of. */
export interface IncidentChange {
  readonly incident_id: string;
  readonly event: "raised" | "acknowledged" | "resolved";
  readonly kind: string;
  /** What it is about: two of the same kind and subject are one. */
  readonly subject: string;
  readonly severity: Severity;
  readonly summary: string;
  readonly code: string | null;
  readonly run_id: string | null;
  readonly step_id: string | null;
  /** Who acknowledged or resolved it. */
  readonly by: string | null;
  readonly note: string | null;
  readonly at: string;
  readonly sequence: number;
}

/** An incident as its entries say it, and as its row stands. */
export interface Incident {
  readonly incident_id: string;
  readonly kind: string;
  readonly subject: string;
  readonly severity: Severity;
  readonly state: IncidentState;
  readonly summary: string;
  readonly code: string | null;
  readonly run_id: string | null;
  readonly step_id: string | null;
  readonly occurrences: number;
  readonly raised_at: string;
  readonly last_at: string;
  readonly acknowledged_by: string | null;
  readonly acknowledged_at: string | null;
  readonly resolved_by: string | null;
  readonly resolved_at: string | null;
  readonly note: string | null;
}

/** The same of a tenant, a kind and a subject, so that what happens again is no other incident. */
export function incidentIdOf(tenantId: string, kind: string, subject: string): string {
  const digest = digestOf({ format: "sovereign.incident", tenant_id: tenantId, kind, subject });
  return `inc_${digest.slice(0, 20)}`;
}

const EVENTS: Readonly<Record<string, IncidentChange["event"]>> = {
  "incident.raised": "raised",
  "incident.acknowledged": "acknowledged",
  "incident.resolved": "resolved",
};

/** What an entry makes of an incident; null where it speaks of none. */
export function incidentChangeOf(
  entry: Pick<
    LedgerEntry,
    | "event_type"
    | "data"
    | "severity"
    | "tenant_id"
    | "stream"
    | "run_id"
    | "timestamp"
    | "sequence"
  >,
): IncidentChange | null {
  const { data, tenant_id, severity, stream, run_id, timestamp: at, sequence } = entry;
  const event = EVENTS[entry.event_type];
  if (event === undefined) return null;
  const kind = textOf(data["kind"]) ?? "";
  // Entries from before there was a subject are each about a step of their run.
  const step_id = textOf(data["step_id"]);
  const subject = textOf(data["subject"]) ?? [stream, step_id ?? ""].join(" ").trim();
  const named = event === "raised" ? null : textOf(data["incident_id"]);
  return {
    incident_id: named ?? incidentIdOf(tenant_id, kind, subject),
    event,
    kind,
    subject,
    severity,
    summary: textOf(data["summary"]) ?? "",
    code: textOf(data["code"]),
    run_id,
    step_id,
    by: textOf(data["by"]),
    note: textOf(data["note"]),
    at,
    sequence,
  };
}

/**
 * The incident after one more of its entries. What is raised again after it was resolved is open again.
 *
 * @param before null where no entry has raised it
 * @returns null where nothing has raised it yet
 */
export function foldIncident(before: Incident | null, change: IncidentChange): Incident | null {
  if (change.event === "raised") return raised(before, change);
  if (before === null || before.state === "resolved") return before;
  const { at, by, note } = change;
  if (change.event === "resolved") {
    return { ...before, state: "resolved", resolved_by: by, resolved_at: at, note };
  }
  if (before.state === "acknowledged") return before;
  return { ...before, state: "acknowledged", acknowledged_by: by, acknowledged_at: at };
}

const UNTOUCHED = {
  acknowledged_by: null,
  acknowledged_at: null,
  resolved_by: null,
  resolved_at: null,
  note: null,
};

function raised(before: Incident | null, change: IncidentChange): Incident {
  const { incident_id, kind, subject, severity, summary, code, run_id, step_id, at } = change;
  const now = { severity, summary, code, run_id, step_id, last_at: at };
  if (before === null) {
    const first = { incident_id, kind, subject, occurrences: 1, raised_at: at };
    return { ...first, ...now, state: "open", ...UNTOUCHED };
  }
  const occurrences = before.occurrences + 1;
  if (before.state !== "resolved") return { ...before, ...now, occurrences };
  return { ...before, ...now, occurrences, state: "open", ...UNTOUCHED };
}

/** A text of the database can hold no NUL. */
function textOf(value: JsonValue | undefined): string | null {
  return typeof value === "string" ? value.replaceAll("\0", "\ufffd") : null;
}

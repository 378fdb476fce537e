import { cutText, type ErrorCode, type IncidentKind, type Severity } from "@sovereign/core";
import type { IncidentRows, RunSession, RunStopped } from "../../runs/index.ts";
import type { Clock } from "../../system/index.ts";

/** What a run raises. */
export interface RaisedIncident {
  readonly kind: IncidentKind;
  readonly severity: Severity;
  /** Raised again with the same kind and subject, it is the same incident. */
  readonly subject: string;
  readonly summary: string;
  readonly code: ErrorCode;
  readonly stepId?: string;
}

/** Record an incident in the run's own stream; its row is in the same commit. */
export function raiseIncident(
  session: Pick<RunSession, "note">,
  { kind, severity, subject, summary, code, stepId }: RaisedIncident,
): Promise<void> {
  const about = stepId === undefined ? {} : { step_id: stepId };
  const data = { kind, subject: cutText(subject, 400), summary: cutText(summary, 2000), code };
  return session.note("incident.raised", severity, { ...data, ...about });
}

const KILLED: ReadonlySet<ErrorCode> = new Set(["ERR_SCRAM_TRIPPED", "ERR_SCRAM_UNREADABLE"]);

/** So many denials of a tenant within an hour are an incident. */
const DENIALS = 3;
const HOUR_MS = 3_600_000;

export interface Watched {
  readonly session: Pick<RunSession, "note">;
  readonly incidents: Pick<IncidentRows, "denialsSince">;
  readonly clock: Clock;
}

/** Raise what a person has to look at where a step was stopped. */
export async function raiseFor(
  { session, incidents, clock }: Watched,
  { stepId, outcome }: RunStopped,
): Promise<void> {
  const { status, code, reason } = outcome;
  if (KILLED.has(code)) {
    const summary = `the kill switch stopped ${stepId}: ${reason}`;
    const about = { kind: "kill", subject: "kill switch", summary, code, stepId } as const;
    return raiseIncident(session, { severity: "CRITICAL", ...about });
  }
  if (code === "ERR_BUDGET_EXCEEDED") {
    const summary = `${stepId} was not begun: ${reason}`;
    const about = { kind: "budget", subject: reason, summary, code, stepId } as const;
    return raiseIncident(session, { severity: "ERROR", ...about });
  }
  if (status !== "DENIED") return;
  const since = new Date(clock.now().getTime() - HOUR_MS).toISOString();
  const denials = await incidents.denialsSince(since);
  if (denials < DENIALS) return;
  const summary = `policy denied ${denials} steps of this tenant within an hour, last ${stepId}: ${reason}`;
  const about = {
    kind: "repeated_denial",
    subject: "denied steps",
    summary,
    code,
    stepId,
  } as const;
  await raiseIncident(session, { severity: "WARNING", ...about });
}

/** A worker died or stood still with a run that is gone on with now. */
export async function raiseLost(
  session: Pick<RunSession, "note">,
  runId: string,
  worker: string | null,
): Promise<void> {
  if (worker === null) return;
  const summary = `worker ${worker} was lost with ${runId}; another goes on with it`;
  const about = { kind: "lost_worker", subject: worker, summary, code: "ERR_RUN_FENCED" } as const;
  await raiseIncident(session, { severity: "WARNING", ...about });
}

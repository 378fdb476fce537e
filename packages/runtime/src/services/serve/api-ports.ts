import type { ArtifactRef, Incident, JsonValue, LedgerEntry, TrustRoot } from "@sovereign/core";
import type { Plan } from "../../planning/index.ts";
import type { Breaker, IncidentFilter, RunRow } from "../../runs/index.ts";
import type { AskedModel } from "../../skills/index.ts";
import type { BudgetReport } from "../budgets/budget-services.ts";
import type { NamedLimits } from "../budgets/limits.ts";
import type { IncidentReport } from "../incidents/incident-services.ts";
import type { SkillReport } from "../goals/goal-services.ts";
import type { OwnSkillReport } from "../skill-services.ts";
import type { RunDetails } from "../runs/run-details.ts";
import type { RunProofReport } from "../runs/run-proof.ts";
import type { TraceReport } from "../runs/run-trace.ts";
import type { ApiIdentity } from "./identity.ts";
import type { Begun } from "./local-carrier.ts";

/** A goal as a caller over the network submits it: no file of this machine, and no policy of theirs. */
export interface SubmittedGoal {
  readonly goal: string;
  readonly agentId: string;
  readonly originSystemId: string;
  /** Null where the planner makes the plan. */
  readonly plan: Plan | null;
  /** Whom to ask for a plan; null where none is asked. */
  readonly plannerModel: AskedModel | null;
  readonly inputs: Readonly<Record<string, JsonValue>>;
  readonly idempotencyKey: string | null;
  /** What the run may use at most. Those of the tenant and of the agent hold all the same. */
  readonly limits: NamedLimits;
  /** From -100 to 100, among the tenant's runs that wait for workers. */
  readonly priority: number;
}

/** One entry of a run, with its place in the run's stream. */
export interface RunEvent {
  readonly sequence: number;
  readonly hash: string;
  readonly entry: LedgerEntry;
}

export interface Page {
  readonly limit: number;
  readonly status: string | null;
  readonly kind: string | null;
  /** The last run of the page before; null for the first. */
  readonly after: string | null;
}

/** What became of a run that was cancelled: it may have ended in that very moment. */
export interface CancelledRun {
  readonly runId: string;
  readonly status: string;
  readonly reason: string | null;
}

/** What the server says of itself to a monitor. */
export interface Readiness {
  readonly ready: boolean;
  readonly code: string | null;
}

export type ServerEvent =
  | {
      readonly event: "run.ended" | "run.recovered" | "run.lost";
      readonly tenant: string;
      readonly run: string | null;
      readonly why: string | null;
    }
  /** The identity provider was asked for its keys in vain. */
  | { readonly event: "oidc.unavailable"; readonly why: string };

/**
 * The product for callers over a network. Each method is of one tenant, which the caller's token names
 * and no request: a run of another tenant is as unknown as one that there never was.
 */
export interface ApiServices {
  /**
   * @param token untrusted
   * @returns null for whatever does not count
   * @throws ERR_OIDC_UNAVAILABLE where that cannot be told now
   */
  authenticate(token: string): Promise<ApiIdentity | null>;
  /** Whether there is any token that could count. */
  hasCredential(): Promise<boolean>;
  submitGoal(caller: ApiIdentity, goal: SubmittedGoal): Promise<Begun>;
  resumeRun(caller: ApiIdentity, runId: string): Promise<Begun>;
  /** Go on with a goal that waits, and do a step anew of which nobody knows whether it was done. */
  retryRun(caller: ApiIdentity, runId: string): Promise<Begun>;
  /** End a goal that has not ended. @returns once it has */
  cancelRun(caller: ApiIdentity, runId: string, reason: string): Promise<CancelledRun>;
  listIncidents(tenantId: string, wanted: IncidentFilter): Promise<readonly Incident[]>;
  showIncident(tenantId: string, incidentId: string): Promise<IncidentReport>;
  acknowledgeIncident(caller: ApiIdentity, incidentId: string): Promise<Incident>;
  resolveIncident(caller: ApiIdentity, incidentId: string, note: string): Promise<Incident>;
  showBudgets(tenantId: string, runId: string | null): Promise<readonly BudgetReport[]>;
  listBreakers(tenantId: string): Promise<readonly Breaker[]>;
  listRuns(tenantId: string, page: Page): Promise<RunRow[]>;
  showRun(tenantId: string, runId: string): Promise<RunDetails>;
  traceRun(tenantId: string, runId: string): Promise<TraceReport>;
  proveRun(tenantId: string, runId: string): Promise<RunProofReport>;
  exportBundle(tenantId: string, runId: string): Promise<Uint8Array>;
  listArtifacts(tenantId: string, runId: string): Promise<ArtifactRef[]>;
  readArtifact(tenantId: string, runId: string, sha256: string): Promise<Uint8Array>;
  /** What is recorded of a run from a place in its stream on, and whether more can come. */
  readEvents(
    tenantId: string,
    runId: string,
    from: number,
  ): Promise<{ readonly events: RunEvent[]; readonly ended: boolean }>;
  trustRoot(): Promise<TrustRoot>;
  /** The skills that there are, and those that the tenant trusts of its own. */
  listSkills(tenantId: string): Promise<{
    readonly skills: readonly SkillReport[];
    readonly own: readonly OwnSkillReport[];
  }>;
  readiness(): Promise<Readiness>;
  /** Go on with what a server before left, in this data folder, as there is room; until the signal. */
  recover(signal: AbortSignal): Promise<void>;
  close(drainMs: number): Promise<void>;
}

import type {
  BudgetHold,
  BudgetScope,
  BudgetSetting,
  Incident,
  IncidentState,
  JsonValue,
  Mode,
  TraceHead,
  TraceStep,
} from "@sovereign/core";
import type {
  CommitPort,
  LedgerReader,
  StoredEntry,
  RunStatus,
  StepStatus,
  StreamHead,
} from "../ledger/index.ts";

/** Values of one tenant, by key. @see the skill `kv_store` */
export interface KeptValues {
  get(key: string): Promise<JsonValue | undefined>;
  /** @param value undefined takes it away @throws ERR_SKILL_FAILED where there are too many */
  put(key: string, value: JsonValue | undefined): Promise<void>;
}

/**
 * Bytes of one tenant that every node reaches, each under a digest that names them. Whoever reads holds
 * them against it: where they are kept is not trusted.
 */
export interface ContentStore {
  /** Durable when it resolves. Put twice is put once. @throws ERR_CONTENT_UNAVAILABLE, ERR_STORE_UNAVAILABLE */
  put(digest: string, bytes: Uint8Array): Promise<void>;
  /** @returns null where there is none @throws ERR_CONTENT_UNAVAILABLE, ERR_STORE_UNAVAILABLE */
  get(digest: string): Promise<Uint8Array | null>;
}

/** A run as the store keeps it. */
export interface RunRow {
  readonly runId: string;
  readonly tenantId: string;
  /** What it is: `pipeline`, `exec_request`, `exec_rollback`, `batch`, or what a later version makes. */
  readonly kind: string;
  readonly name: string;
  readonly mode: Mode;
  readonly status: RunStatus;
  readonly plan: Uint8Array;
  readonly planDigest: string;
  readonly reason: string | null;
  readonly sealed: StreamHead | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Which runs are listed. */
export interface RunFilter {
  readonly limit: number;
  /** Null for all. */
  readonly status: string | null;
  readonly kind: string | null;
  /** Only the run that was submitted under this key. */
  readonly idempotencyKey?: string;
  /** Only those that stand after this one. */
  readonly after?: string;
}

export interface StepRow {
  readonly stepId: string;
  readonly status: StepStatus;
  readonly attempt: number;
  readonly actionDigest: string;
  readonly output: Uint8Array | null;
}

/** A step of a trace as its row says: untrusted, values as text. */
export type StoredTraceStep = Omit<TraceStep, "input" | "output" | "artifacts" | "status"> & {
  readonly status: string;
  readonly input: string;
  readonly output: string;
  readonly artifacts: string;
};

/** The rows of a trace; a row of another run that stands among them is here, too. */
export interface StoredTrace {
  readonly heads: readonly (Omit<TraceHead, "status"> & { readonly status: string })[];
  readonly steps: readonly StoredTraceStep[];
}

/** What runs ask of the store, besides the ledger. */
export interface RunStore extends CommitPort, LedgerReader {
  findRun(tenant: string, runId: string): Promise<RunRow | null>;
  /** Newest first. */
  listRuns(tenant: string, wanted: RunFilter): Promise<RunRow[]>;
  listSteps(tenant: string, runId: string): Promise<StepRow[]>;
  readTrace(tenant: string, runId: string): Promise<StoredTrace>;
  /** Take the run over: raises its fence, so that an earlier owner can write no more. */
  claimRun(tenant: string, runId: string): Promise<number>;
  streamHead(log: string, stream: string): Promise<StreamHead>;
}

/** A circuit breaker as its row stands. */
export interface Breaker {
  readonly skill: string;
  readonly host: string;
  readonly state: "closed" | "open" | "half_open";
  /** Failures in a row while it is closed. */
  readonly failures: number;
  readonly changed_at: string;
}

/** A tenant's circuit breakers. They are no evidence. */
export interface BreakerRows {
  /** True while nobody of the tenant may call, or some may try. */
  isOpen(place: { readonly skill: string; readonly host: string }): Promise<boolean>;
  /** Those that are not closed first; at most 1000. */
  list(): Promise<Breaker[]>;
}

/** Which incidents are listed. */
export interface IncidentFilter {
  readonly limit: number;
  /** `unresolved` for open and acknowledged ones; null for all. */
  readonly state: IncidentState | "unresolved" | null;
  readonly kind: string | null;
}

/** An entry that speaks of an incident, by its place. */
export interface PlacedIncident {
  readonly stream: string;
  readonly sequence: number;
  readonly incident_id: string;
}

/** The rows of one tenant's incidents: caches of the ledger. */
export interface IncidentRows {
  /** What was raised last comes first. */
  list(wanted: IncidentFilter): Promise<Incident[]>;
  find(incidentId: string): Promise<Incident | null>;
  /** Those that a run was the last to raise, as their rows say. */
  ofRun(runId: string): Promise<Incident[]>;
  /** Of all rows, in the order of their ids. */
  ids(): Promise<string[]>;
  /** The entries that speak of it, in the order of the log; the last of them. */
  evidenceOf(incidentId: string, limit?: number): Promise<StoredEntry[]>;
  /** The places of entries in one stream. */
  entriesIn(stream: string): Promise<PlacedIncident[]>;
  /** Steps that policy denied since an instant. */
  denialsSince(instant: string): Promise<number>;
  /** @returns false where the log has grown meanwhile: nothing was replaced */
  replace(
    logSize: number,
    incidents: readonly Incident[],
    entries: readonly PlacedIncident[],
  ): Promise<boolean>;
}

/** What is held and was used in one period of a budget. */
export type BudgetUse = Readonly<
  Record<
    | "held_microusd"
    | "held_tokens"
    | "held_steps"
    | "held_ms"
    | "used_microusd"
    | "used_tokens"
    | "used_steps"
    | "used_ms",
    number
  >
>;

/** A hold as its row says: what was used is null while it is held. */
export interface StoredHold extends BudgetHold {
  readonly used_microusd: number | null;
  readonly used_tokens: number | null;
  readonly used_ms: number | null;
}

/** The rows of one tenant's budgets. */
export interface BudgetRows {
  /** @param scope null for all @param subject null for all */
  settings(scope: BudgetScope | null, subject: string | null): Promise<BudgetSetting[]>;
  /** @param period such as `2026-11` of a tenant, `2026-11-29` of an agent, empty of a run */
  use(scope: BudgetScope, subject: string, period: string): Promise<BudgetUse>;
  holds(runId: string): Promise<StoredHold[]>;
}

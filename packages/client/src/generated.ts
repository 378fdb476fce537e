// Generated from the OpenAPI document by `npm run docs`. Do not edit.

/** A value that JSON can hold. */
export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

export type Artifacts = {
  readonly artifacts: readonly {
    readonly name: string;
    readonly sha256: string;
    readonly bytes: number;
    readonly media_type: string;
  }[];
};

/** A run that is durable, and is worked on */
export type BegunRun = { readonly run_id: string; readonly is_new: boolean };

export type Breakers = {
  readonly breakers: readonly {
    readonly skill: string;
    readonly host: string;
    readonly state: "closed" | "open" | "half_open";
    readonly failures: number;
    readonly changed_at: string;
  }[];
};

export type Budgets = {
  readonly budgets: readonly {
    readonly scope: "tenant_month" | "agent_day" | "run";
    readonly subject: string;
    readonly period: string;
    readonly microusd: number | null;
    readonly tokens: number | null;
    readonly steps: number | null;
    readonly ms: number | null;
    readonly use: {
      readonly held_microusd: number;
      readonly held_tokens: number;
      readonly held_steps: number;
      readonly held_ms: number;
      readonly used_microusd: number;
      readonly used_tokens: number;
      readonly used_steps: number;
      readonly used_ms: number;
    };
  }[];
};

export type Caller = {
  readonly tenant_id: string;
  readonly name: string;
  readonly token_id: string | null;
  readonly issuer: string | null;
  readonly subject: string | null;
  readonly scopes: readonly (
    | "runs:read"
    | "runs:write"
    | "evidence:read"
    | "skills:read"
    | "incidents:read"
    | "incidents:write"
    | "budgets:read"
  )[];
  readonly expires_at: string;
};

/** Why a run is ended */
export type Cancellation = { readonly reason: string };

export type EndedRun = {
  readonly run_id: string;
  readonly status: string;
  readonly reason: string | null;
};

export type Health = { readonly status: "ok" };

/** What a person has to look at */
export type Incident = {
  readonly incident_id: string;
  readonly kind: string;
  readonly subject: string;
  readonly severity: "INFO" | "WARNING" | "ERROR" | "CRITICAL";
  readonly state: "open" | "acknowledged" | "resolved";
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
};

/** With the entries that speak of it */
export type IncidentDetails = {
  readonly incident_id: string;
  readonly kind: string;
  readonly subject: string;
  readonly severity: "INFO" | "WARNING" | "ERROR" | "CRITICAL";
  readonly state: "open" | "acknowledged" | "resolved";
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
  readonly entries: readonly {
    readonly index: number;
    readonly stream: string;
    readonly sequence: number;
    readonly event: string;
    readonly at: string;
    readonly summary: string | null;
  }[];
};

export type Incidents = { readonly incidents: readonly Incident[] };

/** A skill of the tenant's own, that somebody trusts */
export type OwnSkill = {
  readonly name: string;
  readonly version: string;
  readonly text: string;
  readonly input: { readonly [key: string]: Json };
  readonly output: { readonly [key: string]: Json };
  readonly digest: string;
  readonly host: string | null;
};

/** Problem details (RFC 9457) */
export type Problem = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly exit: number;
};

export type Proof = {
  readonly run_id: string;
  readonly tenant_id: string;
  readonly integrity: {
    readonly model: "HASH_CHAIN" | "MERKLE_TREE";
    readonly root_hash: string | null;
    readonly chain_length: number;
    readonly verification_status: "VERIFIED" | "FAILED" | "UNSUPPORTED";
    readonly failure_reason: string | null;
    readonly place: string | null;
  };
  readonly traces: readonly { readonly [key: string]: Json }[];
  readonly steps: readonly { readonly [key: string]: Json }[];
  readonly verified_at: string;
};

export type Readiness = { readonly status: "ready" | "unready"; readonly code: string | null };

/** Why an incident is done with */
export type Resolution = { readonly note: string };

export type Run = {
  readonly run_id: string;
  readonly kind: string;
  readonly name: string;
  readonly status: "queued" | "running" | "pending" | "completed" | "failed" | "halted";
  readonly reason: string | null;
  readonly mode: "sovereign" | "compatible";
  readonly plan_digest: string;
  readonly created_at: string;
  readonly updated_at: string;
};

export type RunDetails = {
  readonly run_id: string;
  readonly kind: string;
  readonly name: string;
  readonly status: "queued" | "running" | "pending" | "completed" | "failed" | "halted";
  readonly reason: string | null;
  readonly mode: "sovereign" | "compatible";
  readonly created_at: string;
  readonly updated_at: string;
  readonly published: boolean;
  readonly steps: readonly {
    readonly step: string;
    readonly status: string;
    readonly attempt: number;
  }[];
};

export type RunPage = { readonly runs: readonly Run[]; readonly next: string | null };

export type Skill = {
  readonly name: string;
  readonly version: string;
  readonly text: string;
  readonly reversible: boolean;
  readonly input: { readonly [key: string]: Json };
  readonly output: { readonly [key: string]: Json };
};

export type Skills = { readonly skills: readonly Skill[]; readonly own: readonly OwnSkill[] };

/** A goal of the token's tenant */
export type Submission = {
  readonly goal: string;
  readonly agent_id: string;
  readonly origin_system_id?: string;
  readonly plan?: {
    readonly schema_version?: "1.0.0";
    readonly inputs?: { readonly [key: string]: Json };
    readonly parallel?: number;
    readonly steps: readonly {
      readonly id: string;
      readonly skill: string;
      readonly with?: { readonly [key: string]: Json };
      readonly needs?: readonly string[];
      readonly when?: { readonly value: Json; readonly equals?: Json; readonly not_equals?: Json };
      readonly retry?: { readonly max: number; readonly backoff_ms?: number };
      readonly cost_cents?: number;
      readonly timeout_ms?: number;
    }[];
  };
  readonly planner_model?: string;
  readonly budget?: {
    readonly cents?: number;
    readonly tokens?: number;
    readonly steps?: number;
    readonly seconds?: number;
  };
  readonly inputs?: { readonly [key: string]: Json };
  readonly priority?: number;
};

export type Trace = {
  readonly trace: { readonly [key: string]: Json };
  readonly steps: readonly { readonly [key: string]: Json }[];
};

/** What each operation takes, and what it answers. */
export interface Operations {
  /** Whether the process answers. Needs no token. */
  readonly getHealth: {
    readonly params: { readonly [key: string]: never };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Health;
  };
  /** Whether a goal that is submitted now would be begun. Needs no token. */
  readonly getReadiness: {
    readonly params: { readonly [key: string]: never };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Readiness;
  };
  /** Whose token this is. Needs a token. */
  readonly getCaller: {
    readonly params: { readonly [key: string]: never };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Caller;
  };
  /** The skills that steps of a plan use. Needs the scope `skills:read`. */
  readonly listSkills: {
    readonly params: { readonly [key: string]: never };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Skills;
  };
  /** Submit a goal. Needs the scope `runs:write`. */
  readonly submitRun: {
    readonly params: { readonly [key: string]: never };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly "idempotency-key"?: string };
    readonly body: Submission;
    readonly answer: BegunRun;
  };
  /** List runs of every kind, newest first. Needs the scope `runs:read`. */
  readonly listRuns: {
    readonly params: { readonly [key: string]: never };
    readonly query: {
      readonly limit?: number;
      readonly status?: "queued" | "running" | "pending" | "completed" | "failed" | "halted";
      readonly kind?: string;
      readonly after?: string;
    };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: RunPage;
  };
  /** Show a run. Needs the scope `runs:read`. */
  readonly showRun: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: RunDetails;
  };
  /** Go on with a goal that waits. Needs the scope `runs:write`. */
  readonly resumeRun: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: BegunRun;
  };
  /** Go on with a goal that waits, and do a step anew of which nobody knows if it was done. Needs the scope `runs:write`. */
  readonly retryRun: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: BegunRun;
  };
  /** End a goal that has not ended; answered once it has. Needs the scope `runs:write`. */
  readonly cancelRun: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: Cancellation;
    readonly answer: EndedRun;
  };
  /** The steps of a run, as the ledger says them. Needs the scope `runs:read`. */
  readonly traceRun: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Trace;
  };
  /** The run's ledger entries, as server-sent events, until it ends. Needs the scope `runs:read`. */
  readonly followRun: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly "last-event-id"?: string };
    readonly body: undefined;
    readonly answer: Uint8Array | undefined;
  };
  /** Judge a run's evidence anew, and compare every row with it. Needs the scope `evidence:read`. */
  readonly proveRun: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Proof;
  };
  /** The evidence of a run that has ended, for sovereign-verify. Needs the scope `evidence:read`. */
  readonly exportBundle: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: { readonly [key: string]: Json };
  };
  /** The files that a run recorded. Needs the scope `evidence:read`. */
  readonly listArtifacts: {
    readonly params: { readonly run: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Artifacts;
  };
  /** One of these files. Needs the scope `evidence:read`. */
  readonly readArtifact: {
    readonly params: { readonly run: string; readonly sha256: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Uint8Array;
  };
  /** What a person has to look at, the last one first. Needs the scope `incidents:read`. */
  readonly listIncidents: {
    readonly params: { readonly [key: string]: never };
    readonly query: {
      readonly limit?: number;
      readonly state?: "open" | "acknowledged" | "resolved" | "unresolved";
      readonly kind?: string;
    };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Incidents;
  };
  /** An incident, and the entries of the ledger that speak of it. Needs the scope `incidents:read`. */
  readonly showIncident: {
    readonly params: { readonly incident: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: IncidentDetails;
  };
  /** Say that somebody looks at an incident. Needs the scope `incidents:write`. */
  readonly acknowledgeIncident: {
    readonly params: { readonly incident: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Incident;
  };
  /** Say that an incident is done with; it opens again when it happens again. Needs the scope `incidents:write`. */
  readonly resolveIncident: {
    readonly params: { readonly incident: string };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: Resolution;
    readonly answer: Incident;
  };
  /** Budgets of the tenant and its agents, with what is held and was used. Needs the scope `budgets:read`. */
  readonly showBudgets: {
    readonly params: { readonly [key: string]: never };
    readonly query: { readonly run?: string };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Budgets;
  };
  /** Which hosts are left alone because calls to them failed again and again. Needs the scope `runs:read`. */
  readonly listBreakers: {
    readonly params: { readonly [key: string]: never };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: Breakers;
  };
  /** The installation's public keys. An auditor should have them by another way, too. Needs the scope `evidence:read`. */
  readonly getTrustRoot: {
    readonly params: { readonly [key: string]: never };
    readonly query: { readonly [key: string]: never };
    readonly headers: { readonly [key: string]: never };
    readonly body: undefined;
    readonly answer: { readonly [key: string]: Json };
  };
}

/** Where each operation is. */
export const OPERATIONS = {
  getHealth: { method: "GET", path: "/healthz", query: [], headers: [] },
  getReadiness: { method: "GET", path: "/readyz", query: [], headers: [] },
  getCaller: { method: "GET", path: "/v1/caller", query: [], headers: [] },
  listSkills: { method: "GET", path: "/v1/skills", query: [], headers: [] },
  submitRun: { method: "POST", path: "/v1/runs", query: [], headers: ["idempotency-key"] },
  listRuns: {
    method: "GET",
    path: "/v1/runs",
    query: ["limit", "status", "kind", "after"],
    headers: [],
  },
  showRun: { method: "GET", path: "/v1/runs/{run}", query: [], headers: [] },
  resumeRun: { method: "POST", path: "/v1/runs/{run}/resume", query: [], headers: [] },
  retryRun: { method: "POST", path: "/v1/runs/{run}/retry", query: [], headers: [] },
  cancelRun: { method: "POST", path: "/v1/runs/{run}/cancel", query: [], headers: [] },
  traceRun: { method: "GET", path: "/v1/runs/{run}/trace", query: [], headers: [] },
  followRun: {
    method: "GET",
    path: "/v1/runs/{run}/events",
    query: [],
    headers: ["last-event-id"],
  },
  proveRun: { method: "GET", path: "/v1/runs/{run}/proof", query: [], headers: [] },
  exportBundle: { method: "GET", path: "/v1/runs/{run}/bundle", query: [], headers: [] },
  listArtifacts: { method: "GET", path: "/v1/runs/{run}/artifacts", query: [], headers: [] },
  readArtifact: {
    method: "GET",
    path: "/v1/runs/{run}/artifacts/{sha256}",
    query: [],
    headers: [],
  },
  listIncidents: {
    method: "GET",
    path: "/v1/incidents",
    query: ["limit", "state", "kind"],
    headers: [],
  },
  showIncident: { method: "GET", path: "/v1/incidents/{incident}", query: [], headers: [] },
  acknowledgeIncident: {
    method: "POST",
    path: "/v1/incidents/{incident}/acknowledge",
    query: [],
    headers: [],
  },
  resolveIncident: {
    method: "POST",
    path: "/v1/incidents/{incident}/resolve",
    query: [],
    headers: [],
  },
  showBudgets: { method: "GET", path: "/v1/budgets", query: ["run"], headers: [] },
  listBreakers: { method: "GET", path: "/v1/breakers", query: [], headers: [] },
  getTrustRoot: { method: "GET", path: "/v1/trust-root", query: [], headers: [] },
} as const;

import type { Toolset } from "@sovereign/core";
import type { RunInput } from "../runs/run-result.ts";

export interface ExecInput extends RunInput {
  /** How long to wait for another run on the same repository, in milliseconds. */
  readonly waitMs: number;
}

/** The files of an execution: a request, a policy, and a folder of the repository. */
export interface ExecFiles {
  readonly request: string;
  /** Undefined for the repository's own. */
  readonly policy: string | undefined;
  readonly repository: string;
}

/** What one operation of a request would meet. */
export interface PlannedDecision {
  readonly step: string;
  readonly operation: string;
  readonly type: string;
  readonly resource: string;
  readonly effect: "allow" | "deny" | "step_up";
  readonly why: string;
}

export interface ExecPlanReport {
  readonly request: string;
  readonly digest: string;
  readonly repository: string;
  readonly base: string;
  readonly limits: {
    readonly files: number;
    readonly file_bytes: number;
    readonly timeout_ms: number;
  };
  /** What commands will see besides the system and the tree; null where the policy names nothing. */
  readonly tools: Toolset | null;
  readonly decisions: readonly PlannedDecision[];
}

export interface ExecStatusReport {
  readonly runId: string;
  readonly status: string;
  readonly reason: string | null;
  readonly repository: string;
  readonly base: string;
  readonly broughtTo: string | null;
  readonly head: string;
  readonly recovery: string;
  readonly place: string;
  readonly rollback: { readonly run: string; readonly status: string } | null;
  /** Refs and marks of packs in the repository, and files that another program wrote meanwhile. */
  readonly kept: readonly string[];
}

import type { Toolset } from "@sovereign/core";
import type { RunInput } from "../runs/run-result.ts";

export interface ExecInput extends RunInput {
  /** How long to wait for another run on the same repository, in milliseconds. */
  readonly waitMs: number;
}

interface CommitWords {
  /** The commit's message; null for one that says what was done. */
  readonly message: string | null;
  /** `Name <address>`; null for the executor. */
  readonly author: string | null;
  readonly coAuthors: readonly string[];
}

/** What a person has done without a request of their own: one command, or one diff. */
export type RequestWords =
  | (CommitWords & { readonly kind: "command"; readonly argv: readonly string[] })
  /** `-` for standard input. */
  | (CommitWords & { readonly kind: "patch"; readonly file: string });

/** What is to be carried out on which repository, and under what policy. */
export interface ExecFiles {
  /** A file, or what one is made of. */
  readonly request: string | RequestWords;
  /** Undefined for the repository's own. */
  readonly policy: string | undefined;
  /** A folder in the repository. */
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

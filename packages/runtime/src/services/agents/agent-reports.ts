import type { JsonObject } from "@sovereign/core";
import type { ExecInput } from "../exec/exec-reports.ts";

/** What becomes of a result: its branch waits, it is brought back, or it is thrown away. */
export type AgentDecision = "hold" | "apply" | "discard";

export interface AgentContinueInput extends ExecInput {
  readonly decision: AgentDecision;
}

export interface AgentRunInput extends AgentContinueInput {
  readonly agent: string;
  readonly task: string;
  /** A folder in the repository. */
  readonly repository: string;
  readonly policy: string | undefined;
  readonly role: string;
  readonly model: string | null;
  /** The vendor's name in `sovereign models list`; null for the one that there is. */
  readonly vendor: string | null;
  readonly budgetMicrousd: number | null;
  readonly timeoutSeconds: number | null;
  readonly verify: readonly string[];
  readonly branch: string | null;
}

export interface AgentDoctorRow {
  readonly agent: string;
  readonly state: "ready" | "missing" | "untested";
  readonly version: string | null;
  readonly tested: string;
  readonly path: string | null;
  readonly next: string | null;
}

export interface FollowInput {
  readonly follow: boolean;
  readonly signal: AbortSignal;
  /** Told of each entry in short. */
  readonly onEntry: (entry: JsonObject) => void;
}

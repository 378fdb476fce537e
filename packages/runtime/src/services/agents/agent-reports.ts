import type { JsonObject } from "@sovereign/core";
import type { SandboxLevel } from "../../sandbox/index.ts";
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
  /** It is found, there is a sandbox, and some model can be reached. */
  readonly ready: boolean;
  readonly state: "found" | "missing" | "untested";
  readonly version: string | null;
  readonly tested: string;
  readonly path: string | null;
  readonly next: string | null;
  /** The last run in which the hooks of this version were proved; null where none is known. */
  readonly hooks: HookProof | null;
  /** Null where nothing can run. */
  readonly sandbox: SandboxLevel | null;
  readonly models: readonly ModelReach[];
}

export interface HookProof {
  readonly run: string;
  readonly at: string;
}

export interface ModelReach {
  readonly vendor: string;
  readonly url: string;
  /** Somebody takes connections there. */
  readonly reachable: boolean;
}

export interface FollowInput {
  readonly follow: boolean;
  readonly signal: AbortSignal;
  /** Told of each entry in short. */
  readonly onEntry: (entry: JsonObject) => void;
}

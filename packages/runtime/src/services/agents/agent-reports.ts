import type { JsonObject, ModelWire, ToolType } from "@sovereign/core";
import type { AgentHooks } from "../../coding/index.ts";
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
  /** The agent's own program and its arguments, as they were typed; null for one that is installed. */
  readonly command: string | null;
  /** The vendor's name in `sovereign models list`; null for the one that there is. */
  readonly vendor: string | null;
  readonly budgetMicrousd: number | null;
  /** How many model calls it may make. */
  readonly turnsMax: number | null;
  readonly timeoutSeconds: number | null;
  readonly verify: readonly string[];
  readonly branch: string | null;
  readonly transcript?: boolean;
  /** Where it may change files; none for all of the repository. */
  readonly scope: readonly string[];
  readonly forbid: readonly string[];
  /** A reviewer has to approve the result before it is applied. */
  readonly review: boolean;
}

/** A task pack of somebody's, to be carried out. */
export interface DispatchInput extends AgentContinueInput {
  /** The pack's file. */
  readonly file: string;
  readonly repository: string;
  readonly policy: string | undefined;
  readonly role: string;
  /** As for a run that is typed. */
  readonly command: string | null;
  readonly vendor: string | null;
  readonly branch: string | null;
  readonly transcript?: boolean;
}

/** What a task pack is made of. */
export type PackInput = Pick<
  AgentRunInput,
  | "agent"
  | "task"
  | "repository"
  | "policy"
  | "model"
  | "budgetMicrousd"
  | "turnsMax"
  | "timeoutSeconds"
  | "verify"
  | "scope"
  | "forbid"
  | "review"
>;

/** A result pack of somebody's, to be held against its task and a repository. */
export interface PackFiles {
  readonly task: string;
  readonly result: string;
  readonly repository: string;
}

/** The states that a tool can be in, in the seed's words. */
export type ToolState =
  | "connected"
  | "not_configured"
  | "invalid_token"
  | "unreachable"
  | "model_missing"
  | "schema_mismatch";

export interface ToolHealthRow {
  readonly tool: ToolType;
  readonly state: ToolState;
  readonly why: string;
  /** What to type next; null where nothing is to be done. */
  readonly next: string | null;
  readonly version: string | null;
}

export interface AgentDoctorRow {
  readonly agent: string;
  /** It is found, there is a sandbox, and some model can be reached. */
  readonly ready: boolean;
  /** `named`: the user names its program at each run. */
  readonly state: "found" | "missing" | "untested" | "named";
  readonly version: string | null;
  readonly tested: string | null;
  readonly path: string | null;
  readonly next: string | null;
  /** The last run in which the hooks of this version were proved; null where none is known. */
  readonly hooks: HookProof | null;
  /** What came of proving its hooks now; null where that was not asked for. */
  readonly proved: HookProofNow | null;
  /** Whether each run proves its hooks, or it asks by itself, or asks nobody. */
  readonly proof: AgentHooks;
  /** Null where nothing can run. */
  readonly sandbox: SandboxLevel | null;
  /** How the agent speaks to a model. */
  readonly wire: ModelWire | null;
  /** Of the vendors that speak so. */
  readonly models: readonly ModelReach[];
}

export interface HookProof {
  readonly run: string;
  readonly at: string;
}

/** A canary, just now, in the sandbox of this machine: the agent asked, and obeyed. */
export interface HookProofNow {
  readonly ok: boolean;
  readonly wall_ms: number | null;
  /** Why not. */
  readonly reason: string | null;
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

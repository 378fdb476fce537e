import { readFileSync } from "node:fs";
import type { ApiCaller, VerificationReport, ArtifactRef } from "@sovereign/core";
import { verifyBundle } from "@sovereign/verify";
import type { Progress } from "../../pipeline/index.ts";
import type { AgentProgress } from "../../coding/index.ts";
import type { ExecProgress } from "../../executor/index.ts";
import type { Outcome } from "../../kernel/index.ts";
import type { GoalProgress } from "../goals/goal-progress.ts";

/** How a run ended, with what the verifier says of its evidence. */
export function reportOf(result: RunResult): RunReport {
  const { runId, status, reason, code, bundle, trustRoot } = result;
  let verdict: VerificationReport["verdict"] | null = null;
  if (bundle !== null && trustRoot !== null) {
    const root = readFileSync(trustRoot);
    verdict = verifyBundle(readFileSync(bundle), { trustRoot: root }).verdict;
  }
  return { runId, status, reason, code, bundle, trustRoot, verdict };
}

/** How a run ended, as whoever asked is told. */
export interface RunReport {
  readonly runId: string;
  readonly status: "queued" | "completed" | "failed" | "pending" | "halted";
  readonly reason: string | null;
  readonly code: string | null;
  readonly bundle: string | null;
  readonly trustRoot: string | null;
  readonly verdict: VerificationReport["verdict"] | null;
}

export interface RunInput {
  readonly tenantId: string;
  readonly approvers: readonly string[];
  /** True to try again what an earlier process recorded as failed. */
  readonly retryFailed?: boolean;
  /** Who submits it over the network; absent for a command of the machine. */
  readonly caller?: ApiCaller;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress | ExecProgress | AgentProgress | GoalProgress) => void;
}

/** How a run ended, or that it waits. */
export interface RunResult {
  readonly runId: string;
  readonly status: "queued" | "completed" | "failed" | "pending" | "halted";
  readonly reason: string | null;
  /** The outcome that stopped it, if one did. */
  readonly outcome: Outcome | null;
  /** The error's code where no outcome stopped it. */
  readonly code: string | null;
  /** Files of the evidence; null while the run waits. */
  readonly bundle: string | null;
  readonly trustRoot: string | null;
  readonly artifacts: readonly ArtifactRef[];
}

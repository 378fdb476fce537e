import { readFileSync } from "node:fs";
import {
  type ApiCaller,
  type ArtifactRef,
  formats,
  type VerificationReport,
} from "@sovereign/core";
import { parseBundle, verifyBundle } from "@sovereign/verify";
import type { Progress } from "../../pipeline/index.ts";
import type { AgentProgress } from "../../coding/index.ts";
import type { ExecProgress } from "../../executor/index.ts";
import type { Outcome } from "../../kernel/index.ts";
import type { GoalProgress } from "../goals/goal-progress.ts";

/** How a run ended, with what the verifier says of its evidence. */
export function reportOf(result: RunResult): RunReport {
  const { runId, status, reason, code, bundle, trustRoot } = result;
  const ended = { runId, status, reason, code, bundle, trustRoot };
  if (bundle === null || trustRoot === null) return { ...ended, verdict: null, observed: [] };
  const bytes = readFileSync(bundle);
  const { verdict } = verifyBundle(bytes, { trustRoot: readFileSync(trustRoot) });
  return { ...ended, verdict, observed: verdict === "VALID" ? observedIn(bytes) : [] };
}

/** What ran in a policy's observe mode and would be denied in the other, by its entries. */
function observedIn(bytes: Uint8Array): ObservedDenial[] {
  return parseBundle(bytes).entries.flatMap(({ entry: { data } }) => {
    const action = formats.action.safeParse(data["action"]);
    const decision = formats.policyDecision.safeParse(data["decision"]);
    if (!action.success || !decision.success || !decision.data.observed) return [];
    const { type, resource } = action.data;
    return [{ type, resource, why: decision.data.reasons.join("; ") }];
  });
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
  /** Of a run that has ended: what its policy only observed. */
  readonly observed: readonly ObservedDenial[];
}

/** An action that ran, and that the policy would deny if it enforced. */
export interface ObservedDenial {
  readonly type: string;
  readonly resource: string;
  readonly why: string;
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

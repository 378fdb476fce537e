import type { ArtifactRef } from "@sovereign/core";
import type { Outcome } from "../kernel/index.ts";

/** How a run ended, or that it waits. */
export interface RunResult {
  readonly runId: string;
  readonly status: "completed" | "failed" | "pending";
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

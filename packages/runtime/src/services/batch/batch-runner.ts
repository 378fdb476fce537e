import { fixClass } from "@sovereign/core";
import { parseBatchContent } from "../../batch/index.ts";
import { assertOpened } from "../../installation/index.ts";
import { type CompiledPolicy, ownPolicy } from "../../policy/index.ts";
import { submitRun } from "../runs/lifecycle.ts";
import { ownOptions, type SessionOptions } from "../runs/open-session.ts";
import { healthOf, type SwitchStatus } from "../scram/health.ts";
import type { RunnerHealth } from "../scram/scram-reports.ts";
import { type BatchActionReport, batchKind, type BatchProgress } from "./batch-kind.ts";

export interface RunnerOptions extends SessionOptions {
  readonly policy: CompiledPolicy;
  /** The role whose key signs for the actions. */
  readonly role: string;
  /** A folder that the commands see read-only as /input; null for none. */
  readonly input: string | null;
}

/**
 * Runs batches of commands over the kernel, under the kill switch.
 *
 * RUNNER-01: nothing of a batch begins unless the switch is armed, and what runs is killed when it
 * trips. RUNNER-02: the switch is that of the installation, and there is no way to give another.
 * RUNNER-03: a check that fails counts as a switch that is tripped.
 */
export class SovereignRunner {
  readonly #options: RunnerOptions;

  /**
   * @throws ERR_POLICY_INVALID where the policy is not the one that its digest names
   * @throws TypeError for an installation that was not opened here
   */
  constructor(options: RunnerOptions) {
    // Taken once, here: what the embedding program does with it later changes no batch.
    const own = ownOptions(options);
    assertOpened(own.installation);
    this.#options = { ...own, policy: ownPolicy(own.policy) };
    Object.freeze(this);
  }

  /**
   * Run the actions one after another; the first that does not complete ends the batch.
   *
   * @param content untrusted; see the batch's schema
   * @throws ERR_BATCH_INVALID before anything is recorded
   */
  async executeBatch(batchId: string, content: unknown): Promise<BatchReport> {
    const batch = parseBatchContent(batchId, content);
    const { policy, role, input, ...options } = this.#options;
    const progress: BatchProgress = { actions: [], aborted: false };
    const wanted = { batchId, batch, policy, role, input, mode: "sovereign" } as const;
    const ended = await submitRun(batchKind(progress), { ...options, waitMs: 0 }, wanted);
    const { runId, reason, code, bundle, trustRoot } = ended;
    if (bundle === null || trustRoot === null) throw new TypeError("a batch ends or throws");
    const failed = progress.aborted ? "SCRAM_ABORT" : "BATCH_FAILED";
    const status = ended.status === "completed" ? "BATCH_COMMITTED" : failed;
    return { status, batchId, runId, reason, code, actions: progress.actions, bundle, trustRoot };
  }

  /** What a monitor asks. A state that cannot be had is reported as one in which nothing runs. */
  static healthCheck(
    status: () => Promise<SwitchStatus>,
    /** Why the data folder is refused; null where it is not. */
    refused: string | null = null,
  ): Promise<RunnerHealth> {
    return healthOf(status, refused);
  }
}

fixClass(SovereignRunner);

/** How a batch ended: stopped by the kill switch, done whole, or failed. */
export interface BatchReport {
  readonly status: "SCRAM_ABORT" | "BATCH_COMMITTED" | "BATCH_FAILED";
  readonly batchId: string;
  readonly runId: string;
  readonly reason: string | null;
  readonly code: string | null;
  readonly actions: readonly BatchActionReport[];
  readonly bundle: string;
  readonly trustRoot: string;
}

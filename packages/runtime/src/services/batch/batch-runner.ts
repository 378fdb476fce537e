import { join } from "node:path";
import {
  digestOf,
  isSovereignError,
  type JsonObject,
  SovereignError,
  type ErrorCode,
} from "@sovereign/core";
import {
  type BatchContent,
  createBatchEffect,
  paramsOf,
  parseBatchContent,
} from "../../batch/index.ts";
import type { RunnerHealth } from "../scram/scram-reports.ts";
import { newId, systemEntropy } from "../../system/index.ts";
import { type CompiledPolicy, PolicyEngine } from "../../policy/index.ts";
import { RunStopped } from "../../runs/index.ts";
import {
  authorityOf,
  demandsOf,
  type OpenedSession,
  openRunSession,
  type SessionOptions,
} from "../runs/open-session.ts";
import { requireRunKeys, waitingForKeys } from "../../installation/index.ts";
import { makeRunFolder } from "../runs/run-folder.ts";
import { sealRun } from "../runs/seal-run.ts";
import { type SwitchStatus, haltedBy } from "../scram/health.ts";

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

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  /**
   * Run the actions one after another; the first that does not complete ends the batch.
   *
   * @param content untrusted; see the batch's schema
   * @throws ERR_BATCH_INVALID before anything is recorded
   */
  async executeBatch(batchId: string, content: unknown): Promise<BatchReport> {
    const batch = parseBatchContent(batchId, content);
    const { installation } = this.#options;
    const authority = authorityOf(installation, null);
    await requireRunKeys(installation, authority);
    // A role without a key is told before there is a run, too.
    await authority.signer("role", this.#options.role);
    const runId = newId("run_", systemEntropy);
    const folder = await makeRunFolder(installation, this.#options.tenantId, runId);
    const opened = await this.#open(runId, batchId, batch);
    try {
      await folder.admit(() => opened.session.admit());
      const resume = `sovereign run resume ${runId}`;
      return await waitingForKeys(opened.session, resume, async () => {
        const done = await this.#perform(opened, batch);
        const { bundle, trustRoot } = await sealRun(
          this.#options,
          opened,
          done.status === "BATCH_COMMITTED" ? "completed" : "failed",
          done.reason,
        );
        return { ...done, batchId, runId, bundle, trustRoot };
      });
    } finally {
      opened.stopWatching();
    }
  }

  /** What a monitor asks. A state that cannot be had is reported as one in which nothing runs. */
  static async healthCheck(
    status: () => Promise<SwitchStatus>,
    /** Why the data folder is refused; null where it is not. */
    refused: string | null = null,
  ): Promise<RunnerHealth> {
    try {
      const found = await status();
      const { state, lease = null, selfProof = null } = found;
      const armed = state === "ARMED";
      const reason = haltedBy(found) ?? refused;
      return {
        runner_status: armed && reason === null ? "HEALTHY" : "HALTED",
        scram_state: state,
        scram_armed: armed,
        scram_active: state === "ACTIVATING" || state === "EXECUTING",
        scram_complete: state === "COMPLETE",
        reason,
        lease,
        self_proof: selfProof,
      };
    } catch (error) {
      return {
        runner_status: "UNAVAILABLE",
        scram_state: "UNKNOWN",
        scram_armed: false,
        scram_active: false,
        scram_complete: false,
        reason: isSovereignError(error) ? error.message : "the switch's state cannot be had",
        lease: null,
        self_proof: null,
      };
    }
  }

  #open(runId: string, batchId: string, batch: BatchContent): Promise<OpenedSession> {
    const { installation, policy, input } = this.#options;
    const plan = { kind: "batch", batch_id: batchId, ...batch } as unknown as JsonObject;
    return openRunSession(this.#options, {
      runId,
      name: batchId,
      mode: "sovereign",
      policy: new PolicyEngine(policy),
      demands: demandsOf(policy),
      plan,
      config: { batch_id: batchId, metadata: digestOf(batch.metadata), mode: "sovereign" },
      row: null,
      artifacts: "artifacts",
      effects: (artifacts, sandbox) => ({
        "command.run": createBatchEffect({
          sandbox,
          artifacts,
          input,
          work: join(installation.folder.run(runId), "work"),
        }),
      }),
    });
  }

  async #perform(
    { session, scram }: OpenedSession,
    batch: BatchContent,
  ): Promise<Pick<BatchReport, "status" | "reason" | "code" | "actions">> {
    const reports: BatchActionReport[] = batch.actions.map(({ id }) => ({
      id,
      state: "not_started",
      code: null,
    }));
    for (const [at, action] of batch.actions.entries()) {
      const { id } = action;
      try {
        const [executable = ""] = action.argv;
        const step = { type: "command.run", resource: executable, params: paramsOf(action) };
        await session.perform({ stepId: id, role: this.#options.role, action: step });
        reports[at] = { id, state: "completed", code: null };
      } catch (error) {
        if (!(error instanceof RunStopped)) throw error;
        const { outcome } = error;
        if (outcome.status === "UNAVAILABLE") throw unrecorded(error.message);
        reports[at] = { id, state: stateOf(outcome.status), code: outcome.code };
        const tripped = !scram.preflight(ownerOf(session)).armed;
        const status = tripped ? "SCRAM_ABORT" : "BATCH_FAILED";
        return { status, reason: error.message, code: outcome.code, actions: reports };
      }
    }
    return { status: "BATCH_COMMITTED", reason: null, code: null, actions: reports };
  }
}

function ownerOf({ plan }: OpenedSession["session"]): { tenant_id: string; run_id: string } {
  return { tenant_id: plan.tenantId, run_id: plan.runId };
}

function stateOf(status: RunStopped["outcome"]["status"]): BatchActionReport["state"] {
  if (status === "KILLED") return "killed";
  if (status === "FAILED") return "failed";
  return status === "SCRAM_ABORT" ? "not_started" : "refused";
}

function unrecorded(text: string): SovereignError {
  return new SovereignError("ERR_STORE_UNAVAILABLE", `${text} The batch is not ended.`);
}

/** What became of one action of a batch. What never began is told apart from what was ended. */
export interface BatchActionReport {
  readonly id: string;
  readonly state: "completed" | "killed" | "failed" | "refused" | "not_started";
  readonly code: ErrorCode | null;
}

/** How a batch ended: stopped by the kill switch, done whole, or failed. */
export interface BatchReport {
  readonly status: "SCRAM_ABORT" | "BATCH_COMMITTED" | "BATCH_FAILED";
  readonly batchId: string;
  readonly runId: string;
  readonly reason: string | null;
  readonly code: ErrorCode | null;
  readonly actions: readonly BatchActionReport[];
  readonly bundle: string;
  readonly trustRoot: string;
}

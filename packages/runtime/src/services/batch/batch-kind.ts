import { join } from "node:path";
import {
  canonicalBytes,
  digestOf,
  type ErrorCode,
  fields,
  GENESIS_HASH,
  type JsonObject,
  type Mode,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { type BatchContent, batchContent, createBatchEffect, paramsOf } from "../../batch/index.ts";
import {
  type CompiledPolicy,
  freezePolicy,
  openFrozenPolicy,
  PolicyEngine,
} from "../../policy/index.ts";
import { RunStopped } from "../../runs/index.ts";
import {
  COMPLETED,
  type Ending,
  type Held,
  KindWork,
  type KnownRun,
  NOTHING_HELD,
  type RunKind,
  type RunOptions,
} from "../runs/lifecycle.ts";
import { FailedLogs } from "../runs/failed-logs.ts";
import {
  authorityOf,
  demandsOf,
  type OpenedSession,
  openRunSession,
} from "../runs/open-session.ts";
import { refuseTools } from "../runs/refuse-tools.ts";
import { replaceOwnFile, requireOwnFile } from "../../system/index.ts";

export interface BatchInput {
  readonly batchId: string;
  readonly batch: BatchContent;
  readonly policy: CompiledPolicy;
  readonly role: string;
  readonly input: string | null;
  readonly mode: Mode;
}

/** What became of one action of a batch. What never began is told apart from what was ended. */
export interface BatchActionReport {
  readonly id: string;
  readonly state: "completed" | "killed" | "failed" | "refused" | "not_started";
  readonly code: ErrorCode | null;
}

/** What a batch's result says beside how the run ended. */
export interface BatchProgress {
  readonly actions: BatchActionReport[];
  /** True where the kill switch ended it. */
  aborted: boolean;
}

/** The plan of a batch. Those of before say neither role nor input, and keep no policy. */
const batchPlan = z.object({
  kind: z.literal("batch"),
  batch_id: z.string(),
  ...batchContent.shape,
  role: fields.name.default("runner"),
  input: z.string().nullable().default(null),
  policy_digest: fields.digest.optional(),
});

interface Frozen {
  readonly plan: JsonObject;
  readonly batch: z.infer<typeof batchPlan>;
  /** Null where none was kept: then nothing is permitted any more. */
  readonly policy: CompiledPolicy | null;
}

type Known = KnownRun<Frozen, Held>;

const POLICY_FILE = "policy.json";
const CUT_SHORT = "The batch was cut short. What had not begun was not run.";

/** Batches of commands. @param progress filled with what becomes of the actions */
export function batchKind(
  progress: BatchProgress = { actions: [], aborted: false },
): RunKind<BatchInput, Frozen, Held> {
  return {
    hold: async ({ installation }, _runId, { role, policy }) => {
      refuseTools(policy, "batch", null);
      // A role without a key is told before there is a run.
      await authorityOf(installation, null).signer("role", role);
      return NOTHING_HELD;
    },
    holdAgain: () => Promise.resolve(NOTHING_HELD),
    freeze: (_options, { batchId, batch, policy, role, input }, folder) => {
      replaceOwnFile(join(folder, POLICY_FILE), canonicalBytes(freezePolicy(policy)));
      const { actions, metadata } = batch;
      const plan = {
        kind: "batch",
        batch_id: batchId,
        actions: actions as unknown as JsonObject[],
        metadata,
        role,
        input,
        policy_digest: policy.digest,
      };
      return Promise.resolve({ plan, batch: parseFormat(batchPlan, plan, "plan"), policy });
    },
    open: ({ installation }, row) => {
      const plan = parseCanonicalJson(row.plan) as JsonObject;
      const batch = parseFormat(batchPlan, plan, "plan");
      const folder = installation.folder.run(row.runId);
      const policy =
        batch.policy_digest === undefined ? null : openPolicy(folder, batch.policy_digest);
      return Promise.resolve({ plan, batch, policy });
    },
    work: async (options, run) => {
      const logs = new FailedLogs(options);
      return new BatchWork(
        options,
        run,
        { ...(await openBatch(options, run, logs)), logs },
        progress,
      );
    },
  };
}

/** @throws ERR_RUN_DIVERGED where the file is not the policy that the plan names */
function openPolicy(folder: string, digest: string): CompiledPolicy {
  const path = join(folder, POLICY_FILE);
  const policy = openFrozenPolicy(requireOwnFile(path), path);
  if (policy.digest === digest) return policy;
  const text = `${path} is not the policy with which the batch began.`;
  throw new SovereignError("ERR_RUN_DIVERGED", text, { expected: digest, found: policy.digest });
}

function openBatch(options: RunOptions, run: Known, logs: FailedLogs): Promise<OpenedSession> {
  const { runId, mode, row } = run;
  const { plan, batch, policy } = run.frozen;
  const folder = options.installation.folder.run(runId);
  return openRunSession(options, {
    runId,
    name: batch.batch_id,
    mode,
    policy: policy === null ? NOTHING_PERMITTED : new PolicyEngine(policy),
    demands: policy === null ? { minimumLevel: "G2", backend: "bubblewrap" } : demandsOf(policy),
    plan,
    config: { batch_id: batch.batch_id, metadata: digestOf(batch.metadata), mode },
    row,
    artifacts: "artifacts",
    effects: (artifacts, sandbox) => ({
      "command.run": createBatchEffect({
        sandbox,
        artifacts,
        input: batch.input,
        work: join(folder, "work"),
        onFailedLog: logs.of(artifacts),
      }),
    }),
  });
}

const NOTHING_PERMITTED = {
  policyDigest: GENESIS_HASH,
  decide: (): never => {
    throw new SovereignError("ERR_BINDING_REFUSED", CUT_SHORT);
  },
};

/** Runs the actions one after another; the first that does not complete ends the batch. */
class BatchWork extends KindWork {
  readonly #options: RunOptions;
  readonly #known: Known;
  readonly #progress: BatchProgress;
  readonly #logs: FailedLogs;

  constructor(
    options: RunOptions,
    known: Known,
    opened: OpenedSession & { readonly logs: FailedLogs },
    progress: BatchProgress,
  ) {
    super(opened, `sovereign run resume ${known.runId}`);
    this.#options = options;
    this.#known = known;
    this.#progress = progress;
    this.#logs = opened.logs;
  }

  announce(): void {
    // Each action is told when it is done.
  }

  async carryOut(): Promise<Ending> {
    const { batch, policy } = this.#known.frozen;
    const { session } = this.opened;
    const { actions } = this.#progress;
    for (const { id } of batch.actions) actions.push({ id, state: "not_started", code: null });
    for (const [at, action] of batch.actions.entries()) {
      const { id } = action;
      if (policy === null && !session.isDone(id)) return CUT;
      const [executable = ""] = action.argv;
      const step = { type: "command.run", resource: executable, params: paramsOf(action) };
      try {
        await session.perform({ stepId: id, role: batch.role, action: step, once: true });
        actions[at] = { id, state: "completed", code: null };
      } catch (error) {
        if (!(error instanceof RunStopped) || error.outcome.status === "UNAVAILABLE") throw error;
        const { outcome, message: reason } = error;
        actions[at] = { id, state: stateOf(outcome.status), code: outcome.code };
        this.#progress.aborted = !this.#isArmed();
        return { status: "failed", reason, code: outcome.code, outcome };
      }
    }
    return COMPLETED;
  }

  async conclude(): Promise<void> {
    const { refs } = this.#logs;
    if (refs.length > 0) await this.opened.session.recordEvidence(refs);
  }

  #isArmed(): boolean {
    const owner = { tenant_id: this.#options.tenantId, run_id: this.#known.runId };
    return this.opened.scram.preflight(owner).armed;
  }
}

const CUT: Ending = { status: "failed", reason: CUT_SHORT, code: null, outcome: null };

function stateOf(status: RunStopped["outcome"]["status"]): BatchActionReport["state"] {
  if (status === "KILLED") return "killed";
  if (status === "FAILED") return "failed";
  return status === "SCRAM_ABORT" ? "not_started" : "refused";
}

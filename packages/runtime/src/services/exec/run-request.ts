import {
  type ExecutionResult,
  GATE_DOCUMENTS,
  isSovereignError,
  type JsonObject,
  type Mode,
  SovereignError,
} from "@sovereign/core";
import {
  ExecutorRun,
  type Head,
  inspectRepository,
  keepCommit,
  readHead,
  releaseKept,
  requireRunnable,
  statusDigest,
  type UserRepository,
  type Workspace,
  writeEvidence,
} from "../../executor/index.ts";
import { newId, systemEntropy, timestampOf } from "../../system/index.ts";
import type { Outcome } from "../../kernel/index.ts";
import { withTools } from "../../process/index.ts";
import { checkTenant, isPassing, RunStopped, type RunRow, isRollback } from "../../runs/index.ts";
import {
  type ExecContext,
  type ExecOptions,
  executionEffects,
  freezeExec,
  type FrozenExec,
  openFrozenExec,
  openSession,
  openWorkspace,
} from "./exec-context.ts";
import { attestGates } from "./judge-run.ts";
import { intentOf, writeIntent } from "./questions.ts";
import { holdRepository } from "./repository-state.ts";
import { type RecordedEnd, readRecorded } from "./recorded-end.ts";
import { requireRunKeys, waitingForKeys } from "../../installation/index.ts";
import { authorityOf } from "../runs/open-session.ts";
import { publishSealed, removeScratch, isPublished, sealRun } from "../runs/seal-run.ts";
import { resumeRollback } from "./rollback-request.ts";
import { makeRunFolder, runNotFound } from "../runs/run-folder.ts";
import type { RunResult } from "../runs/run-result.ts";
import { requireArmed } from "../runs/require-armed.ts";

export interface SubmitRequestOptions extends ExecOptions {
  readonly request: string;
  readonly policy: string;
  /** A folder in the user's work tree. */
  readonly repository: string;
  readonly mode: Mode;
}

/** Execute a request on a repository, to its end or until it waits for people. */
export async function submitRequest(options: SubmitRequestOptions): Promise<RunResult> {
  checkTenant(options.tenantId);
  const repository = await inspectRepository(options.repository);
  const runId = newId("run_", systemEntropy);
  const lock = await holdRepository(options, repository, runId);
  try {
    const base = await readHead(repository);
    await requireRunKeys(options.installation, authorityOf(options.installation, null));
    const folder = await makeRunFolder(options.installation, options.tenantId, runId);
    const frozen = await freezeExec(folder.path, options, repository, base);
    requireRunnable(frozen.planned);
    const work = await openWork(options, frozen, {
      runId,
      mode: options.mode,
      repository,
      row: null,
    });
    await folder.admit(() => work.context.session.admit());
    const { tape } = work.context;
    tape.add("run_start", null, { request: frozen.plan.exec_request_id, root: repository.root });
    const digests = { request: frozen.plan.request_digest, policy: frozen.policy.digest };
    tape.add("spec_frozen", null, digests);
    const { steps } = frozen.planned;
    options.onProgress({ event: "exec.started", run: runId, steps: steps.length });
    return await carryOut(options, work);
  } finally {
    lock.release();
  }
}

/**
 * Go on with an execution that stopped: after a kill, a Ctrl-C, for approvals or for answers.
 *
 * @throws ERR_RUN_NOT_FOUND, ERR_RUN_SEALED, ERR_RUN_DIVERGED
 */
export async function resumeRequest(options: ExecOptions, runId: string): Promise<RunResult> {
  const { installation, tenantId } = options;
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  if (row.sealed !== null || isRollback(row)) return resumeEnded(options, row);
  requireArmed(installation, { tenant_id: tenantId, run_id: runId });
  const frozen = await openFrozenExec(installation.folder.run(runId), row);
  const repository = await inspectRepository(frozen.plan.repository.root);
  const lock = await holdRepository(options, repository, runId);
  try {
    const work = await openWork(options, frozen, { runId, mode: row.mode, repository, row });
    const recorded = await readRecorded(installation, tenantId, runId);
    await work.context.session.note("run.resumed", "INFO", { from: row.status });
    if (recorded !== null) return await waiting(work, () => close(options, work, recorded));
    return await carryOut(options, work);
  } finally {
    lock.release();
  }
}

/** Of a run that was sealed, what a kill left undone after it; of a rollback, all that is left. */
async function resumeEnded(options: ExecOptions, row: RunRow): Promise<RunResult> {
  const { installation } = options;
  const { runId } = row;
  if (!isRollback(row) && !isPublished(installation, runId)) {
    const result = await publishSealed(options, row);
    await removeScratch(installation.folder.run(runId));
    const { plan } = await openFrozenExec(installation.folder.run(runId), row);
    await releaseKept(await inspectRepository(plan.repository.root), runId);
    return result;
  }
  const rolledBack = await resumeRollback(options, row);
  if (rolledBack !== null) return rolledBack;
  throw new SovereignError("ERR_RUN_SEALED", `Run ${runId} has ended: ${row.status}.`);
}

interface Work {
  readonly frozen: FrozenExec;
  readonly context: ExecContext;
  readonly workspace: Workspace;
  readonly repository: UserRepository;
  readonly base: Head;
  readonly startedAt: string;
}

async function openWork(
  options: ExecOptions,
  frozen: FrozenExec,
  run: {
    readonly runId: string;
    readonly mode: Mode;
    readonly repository: UserRepository;
    readonly row: RunRow | null;
  },
): Promise<Work> {
  const { installation } = options;
  const { planned, policy, plan } = frozen;
  const { ref, commit, tree } = plan.repository;
  const base: Head = { ref, commit, tree };
  const folder = installation.folder.run(run.runId);
  const workspace = await openWorkspace(folder, run.repository, base, policy);
  const context = await openSession(options, {
    ...run,
    name: plan.exec_request_id,
    policy,
    plan: plan as JsonObject,
    config: { requires_review: planned.request.requires_review, mode: run.mode },
    effects: (artifacts, sandbox) =>
      executionEffects(installation, {
        workspace,
        repository: run.repository,
        base,
        planned,
        folder,
        artifacts,
        sandbox,
      }),
  });
  const startedAt = run.row?.createdAt ?? timestampOf(installation.clock);
  return { frozen, context, workspace, repository: run.repository, base, startedAt };
}

function carryOut(options: ExecOptions, work: Work): Promise<RunResult> {
  return withTools(work.context.tools, false, () => carryOutHeld(options, work));
}

async function carryOutHeld(options: ExecOptions, work: Work): Promise<RunResult> {
  const { context, frozen, base, repository, workspace } = work;
  const { tape, session, folder } = context;
  const run = new ExecutorRun({
    session,
    planned: frozen.planned,
    base,
    tape,
    onProgress: options.onProgress,
  });
  try {
    const intent = await gateIntent(work);
    if (intent !== null) return intent;
    // Whatever the user's git cleans away meanwhile: the work rests on it.
    await keepCommit(repository, context.runId, "base", base.commit);
    tape.add("repo_locked", null, { root: repository.root });
    tape.add("worktree_created", null, { base: base.commit });
    const statusBefore = await statusDigest(workspace.git, repository, base.commit, folder);
    tape.add("rollback_point", null, { head: base.commit, ref: base.ref, status: statusBefore });
    await run.run();
    return await end(options, work, run, "success", null, null);
  } catch (error) {
    return await waiting(work, () => stopped(options, work, run, error));
  } finally {
    context.stopWatching();
  }
}

function waiting({ context }: Work, carryOn: () => Promise<RunResult>): Promise<RunResult> {
  const { runId, session } = context;
  return waitingForKeys(session, `sovereign exec resume ${runId}`, carryOn);
}

/** Open blocking questions stop the request before anything of it runs. */
async function gateIntent({ context, frozen }: Work): Promise<RunResult | null> {
  const { tape, session } = context;
  const intent = intentOf(context, frozen);
  await writeIntent(context, frozen, intent);
  if (intent.status === "RESUMED" && !tape.events().some((one) => one.event === "resume_applied")) {
    tape.add("resume_applied", null, { answers: GATE_DOCUMENTS.answers });
  }
  if (intent.status !== "BLOCKED") return null;
  const open = intent.open_questions;
  const reason = `${open.length} blocking questions are open: ${open.join(", ")}`;
  tape.add("blocked", null, { questions: open });
  await session.suspend(`BLOCKED: ${reason}`);
  return pendingResult(context, reason, "ERR_REQUEST_BLOCKED", null);
}

/** A run that waits, was interrupted or lacks what will be there again stays open; else it ends. */
async function stopped(
  options: ExecOptions,
  work: Work,
  run: ExecutorRun,
  error: unknown,
): Promise<RunResult> {
  const { context } = work;
  if (isSovereignError(error)) {
    // What is not there now, such as the ledger, ends no run: it can be resumed.
    if (isPassing(error.code) || error.code === "ERR_EFFECT_KILLED") throw error;
    return end(options, work, run, "failed", error.message, error.code);
  }
  if (!(error instanceof RunStopped)) throw error;
  const { outcome } = error;
  if (outcome.status === "UNAVAILABLE") {
    throw new SovereignError("ERR_STORE_UNAVAILABLE", `${error.message} Resume the run later.`);
  }
  const interrupted = outcome.status === "KILLED" && options.signal.aborted;
  if (error.passes || interrupted) {
    await context.session.suspend(error.message);
    return pendingResult(context, error.message, outcome.code, outcome);
  }
  const status = outcome.status === "DENIED" ? "denied" : "failed";
  return end(options, work, run, status, error.message, outcome.code);
}

function pendingResult(
  { runId, session }: ExecContext,
  reason: string,
  code: string,
  outcome: Outcome | null,
): RunResult {
  const artifacts = [...session.artifacts];
  return {
    runId,
    status: "pending",
    reason,
    outcome,
    code,
    bundle: null,
    trustRoot: null,
    artifacts,
  };
}

/** Write and record the evidence, judge it by the gates, seal the run. */
async function end(
  options: ExecOptions,
  work: Work,
  run: ExecutorRun,
  status: ExecutionResult["status"],
  reason: string | null,
  code: string | null,
): Promise<RunResult> {
  const { context, frozen, workspace, base } = work;
  const { session, artifacts, tape, runId } = context;
  const before = [
    frozen.request,
    ...(await writeIntent(context, frozen, intentOf(context, frozen))),
  ];
  const refs = await writeEvidence({
    runId,
    mode: session.plan.mode,
    planned: frozen.planned,
    policyDigest: frozen.policy.digest,
    limits: workspace.limits,
    base,
    done: run.done,
    git: workspace.git,
    worktree: workspace.root,
    artifacts,
    tape,
    clock: options.installation.clock,
    startedAt: work.startedAt,
    before,
    end: { status, code, reason },
    found: await lookAgain(work, run),
  });
  await session.recordEvidence(refs);
  return close(options, work, { status, code, reason, attested: false });
}

/** What is left once the evidence is recorded: gates, seal, and nothing of the scratch. */
async function close(options: ExecOptions, work: Work, recorded: RecordedEnd): Promise<RunResult> {
  const { context } = work;
  const { session, folder, runId } = context;
  const { status, code, reason } = recorded;
  if (!recorded.attested) await attestGates(options, context);
  const ended = status === "success" ? "completed" : "failed";
  const published = await sealRun(options, context, ended, reason);
  context.stopWatching();
  // What the steps worked in is in the patches; a tree that hostile code wrote is not kept.
  await removeScratch(folder);
  await releaseKept(work.repository, runId);
  return {
    runId,
    status: ended,
    reason,
    outcome: null,
    code,
    ...published,
    artifacts: [...session.artifacts],
  };
}

/** What really stands in the user's repository, whatever the effects said. */
async function lookAgain(
  { repository, workspace, context }: Work,
  run: ExecutorRun,
): Promise<{ head: string; status: string; statusBefore: string }> {
  const { commit: head } = await readHead(repository);
  const status = await statusDigest(workspace.git, repository, head, context.folder);
  return { head, status, statusBefore: run.done.broughtBack?.status_before ?? status };
}

import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  type EntryData,
  GATE_DOCUMENTS,
  type JsonObject,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import {
  gitId,
  inspectRepository,
  isSwitchOpen,
  lockRepository,
  readHead,
  recoverSwitch,
  type UserRepository,
} from "../executor/index.ts";
import { newId, systemEntropy } from "../kernel/index.ts";
import type { RunRow } from "../runs/index.ts";
import { RunStopped } from "../runs/index.ts";
import type { Store } from "../store/index.ts";
import { readRun } from "./approvals.ts";
import {
  type ExecOptions,
  type FrozenExec,
  openFrozenExec,
  openSession,
  rollbackEffects,
} from "./exec-context.ts";
import { attestGates } from "./exec-gates.ts";
import type { Installation } from "./installation.ts";
import { checkTenant, type RunResult } from "./run-pipeline.ts";
import { sealRun } from "./seal-run.ts";

/** Where an execution stands, after what a kill left has been brought to an end. */
export interface ExecStatus {
  readonly runId: string;
  readonly status: RunRow["status"];
  readonly reason: string | null;
  readonly repository: string;
  readonly base: string;
  /** Where the run brought the branch; null where it did not, or was rolled back before sealing. */
  readonly broughtTo: string | null;
  readonly head: string;
  /** What became of a move of the branch that a kill had left halfway. */
  readonly recovery: "none" | "done" | "undone";
  readonly place: "at base" | "at result" | "elsewhere";
}

interface Found {
  readonly row: RunRow;
  readonly frozen: FrozenExec;
  readonly status: ExecStatus;
}

/**
 * Say where an execution stands; a move of the branch that a kill left halfway is ended first.
 * @throws ERR_RUN_NOT_FOUND, ERR_REPOSITORY_BUSY while the run is alive
 */
export async function execStatus(options: ExecOptions, runId: string): Promise<ExecStatus> {
  return (await find(options, runId)).status;
}

async function find(options: ExecOptions, runId: string): Promise<Found> {
  const { installation, tenantId } = options;
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) {
    throw new SovereignError("ERR_RUN_NOT_FOUND", `Tenant ${tenantId} has no run ${runId}.`);
  }
  const folder = installation.folder.run(runId);
  const frozen = await openFrozenExec(folder, row);
  const { root, commit: base } = frozen.plan.repository;
  const repository = await inspectRepository(root);
  const lock = await lockRepository(repository, runId, options.waitMs);
  try {
    // The way back comes after the way there: so it is ended first.
    const back = await endSwitch(join(folder, ROLLBACK, "switch"), repository);
    const there = await endSwitch(join(folder, "work", "switch"), repository);
    const recovery = back.ended ?? there.ended ?? "none";
    const { commit: head } = await readHead(repository);
    const recorded = await broughtTo(installation.store, tenantId, runId);
    const result = recorded ?? (there.state === "done" ? head : null);
    const place = head === result ? "at result" : head === base ? "at base" : "elsewhere";
    const { status, reason } = row;
    return {
      row,
      frozen,
      status: {
        runId,
        status,
        reason,
        repository: root,
        base,
        broughtTo: result,
        head,
        recovery,
        place,
      },
    };
  } finally {
    lock.release();
  }
}

/** Below the run that is undone: whoever asks for its status finds there what a kill left. */
const ROLLBACK = "rollback";

/** @returns how the move stands, and what became of it if it was still open */
async function endSwitch(
  folder: string,
  repository: UserRepository,
): Promise<{ state: "none" | "done" | "undone"; ended: "none" | "done" | "undone" | null }> {
  const open = isSwitchOpen(folder);
  const state = await recoverSwitch(folder, repository);
  return { state, ended: open ? state : null };
}

/** As the ledger has it. */
async function broughtTo(store: Store, tenantId: string, runId: string): Promise<string | null> {
  let head: string | null = null;
  for await (const { entry } of readRun(store, tenantId, runId)) {
    if (entry.event_type !== "execution.completed") continue;
    const { step_id, output } = entry.data as EntryData<"execution.completed">;
    if (step_id !== "bring_back") continue;
    head = parseFormat(z.looseObject({ head: gitId }), output, "bring back").head;
  }
  return head;
}

/**
 * Bring a repository back to where an execution began, as a run of its own with its own evidence.
 *
 * @throws ERR_ROLLBACK_NOTHING when the run brought nothing back
 * @throws ERR_REPOSITORY_MOVED, ERR_REPOSITORY_DIRTY with nothing changed
 */
export async function rollbackRequest(options: ExecOptions, ofRun: string): Promise<RunResult> {
  checkTenant(options.tenantId);
  const { frozen, row, status } = await find(options, ofRun);
  const { base, broughtTo: head, repository: root } = status;
  if (head === null || head === base || status.place === "at base") {
    const text = `There is nothing of run ${ofRun} to roll back: ${root} is ${status.place}.`;
    throw new SovereignError("ERR_ROLLBACK_NOTHING", text, { runId: ofRun });
  }
  const { installation } = options;
  const runId = newId("run_", systemEntropy);
  const repository = await inspectRepository(root);
  const lock = await lockRepository(repository, runId, options.waitMs);
  try {
    const folder = join(installation.folder.run(ofRun), ROLLBACK);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const params = { of_run: ofRun, ref: frozen.plan.repository.ref, base, head };
    const context = await openSession(options, {
      runId,
      name: "rollback",
      mode: row.mode,
      policy: frozen.policy,
      plan: { kind: "exec_rollback", ...params },
      config: { mode: row.mode },
      row: null,
      effects: (artifacts) => rollbackEffects(installation, repository, folder, artifacts),
    });
    await context.session.admit();
    try {
      const action = { type: "git.rollback", resource: ofRun, params: params as JsonObject };
      const { role } = frozen.planned.request;
      return await undo(options, context, { stepId: "rollback", role, action });
    } finally {
      context.stopWatching();
      // Copies of what could not be put back stay where the message says they are.
      if (!isSwitchOpen(join(folder, "switch"))) rmSync(folder, { recursive: true, force: true });
    }
  } finally {
    lock.release();
  }
}

async function undo(
  options: ExecOptions,
  context: Awaited<ReturnType<typeof openSession>>,
  step: Parameters<typeof context.session.perform>[0],
): Promise<RunResult> {
  const { session, artifacts, runId } = context;
  let stop: RunStopped | null = null;
  try {
    await session.perform(step);
  } catch (error) {
    if (!(error instanceof RunStopped) || error.outcome.status === "UNAVAILABLE") throw error;
    stop = error;
    await recordProof(context);
  }
  await attestGates(options, context);
  const reason = stop?.message ?? null;
  const status = stop === null ? "completed" : "failed";
  const read = artifacts.get.bind(artifacts);
  const { bundle, trustRoot } = await sealRun(options, context, status, reason, read);
  return {
    runId,
    status,
    reason,
    outcome: stop?.outcome ?? null,
    code: stop?.outcome.code ?? null,
    bundle,
    trustRoot,
    artifacts: [...session.artifacts],
  };
}

/** What a rollback that failed has proved about itself: gates judge it like any other. */
async function recordProof({
  artifacts,
  session,
}: Awaited<ReturnType<typeof openSession>>): Promise<void> {
  const name = GATE_DOCUMENTS.rollbackProof;
  const path = artifacts.pathOf({ name });
  if (!existsSync(path)) return;
  const kept = await artifacts.put(name, readFileSync(path), "application/json");
  await session.recordEvidence([kept]);
}

/** For `answers`: the questions of a run that waits for them. */
export async function openRequest(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<{ row: RunRow; frozen: FrozenExec; folder: string }> {
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) {
    throw new SovereignError("ERR_RUN_NOT_FOUND", `Tenant ${tenantId} has no run ${runId}.`);
  }
  const folder = installation.folder.run(runId);
  return { row, frozen: await openFrozenExec(folder, row), folder };
}

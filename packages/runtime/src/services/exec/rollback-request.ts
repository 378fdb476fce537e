import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import {
  fields,
  GATE_DOCUMENTS,
  type JsonObject,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
} from "@sovereign/core";
import { z } from "zod";
import { gitId, isSwitchOpen, releaseKept } from "../../executor/index.ts";
import { newId, systemEntropy, writeWhole } from "../../system/index.ts";
import { withTools } from "../../process/index.ts";
import { checkTenant, RunStopped, type RunRow } from "../../runs/index.ts";
import { readAttested } from "./recorded-end.ts";
import {
  type ExecContext,
  type ExecOptions,
  openSession,
  rollbackEffects,
} from "./exec-context.ts";
import { attestGates } from "./judge-run.ts";
import { rollbackFolder, type Standing, withStanding } from "./repository-state.ts";
import { waitingForKeys } from "../../installation/index.ts";
import { publishSealed, isPublished, sealRun } from "../runs/seal-run.ts";
import type { RunResult } from "../runs/run-result.ts";
import { requireArmed } from "../runs/require-armed.ts";

/** The plan of a rollback, as it stands in the run's row. */
const rollbackPlan = z.strictObject({
  kind: z.literal("exec_rollback"),
  of_run: fields.runId,
  ref: z.string().nullable(),
  base: gitId,
  head: gitId,
});
type RollbackPlan = z.infer<typeof rollbackPlan>;

const STEP = "rollback";

/**
 * Bring a repository back to where an execution began, as a run of its own with its own evidence. A
 * rollback that was killed is gone on with.
 *
 * @throws ERR_ROLLBACK_NOTHING when the run brought nothing back
 * @throws ERR_REPOSITORY_MOVED, ERR_REPOSITORY_DIRTY with nothing changed
 */
export function rollbackRequest(options: ExecOptions, ofRun: string): Promise<RunResult> {
  checkTenant(options.tenantId);
  return withStanding(options, ofRun, async (standing) => {
    const left = await findLeft(options, ofRun);
    if (left !== null) return carryOut(options, standing, left);
    const { broughtTo: head, frozen, place } = standing;
    const { root, ref, commit: base } = frozen.plan.repository;
    if (head === null || head === base || place === "at base") {
      const text = `There is nothing of run ${ofRun} to roll back: ${root} is ${place}.`;
      throw new SovereignError("ERR_ROLLBACK_NOTHING", text, { runId: ofRun });
    }
    const runId = newId("run_", systemEntropy);
    const folder = rollbackFolder(options.installation, ofRun);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeWhole(join(folder, MARK), runId);
    const plan: RollbackPlan = { kind: "exec_rollback", of_run: ofRun, ref, base, head };
    return carryOut(options, standing, { runId, plan, row: null });
  });
}

/**
 * Go on with a rollback that a kill left, by its own id or by that of the run that it undoes.
 * @returns null where none was left
 */
export async function resumeRollback(options: ExecOptions, row: RunRow): Promise<RunResult | null> {
  const { installation } = options;
  const value = parseCanonicalJson(row.plan) as JsonObject;
  const own = value["kind"] === "exec_rollback";
  const ofRun = own ? parseFormat(rollbackPlan, value, "plan").of_run : row.runId;
  return withStanding(options, ofRun, async (standing) => {
    const left = await findLeft(options, ofRun);
    if (left !== null && (!own || left.runId === row.runId)) {
      return carryOut(options, standing, left);
    }
    if (!own || row.sealed === null || isPublished(installation, row.runId)) return null;
    return publishSealed(options, row);
  });
}

/** What became of a rollback that a kill had left open. */
export interface SettledRollback {
  readonly run: string;
  readonly status: "completed" | "failed" | "open";
}

/**
 * End what a kill left of a rollback without moving anything: one that had moved the branch is
 * proved and sealed, another is sealed as failed. While the kill switch is tripped it stays open.
 */
export async function settleRollback(
  options: ExecOptions,
  standing: Standing,
): Promise<SettledRollback | null> {
  const left = await findLeft(options, standing.row.runId);
  if (left === null) return null;
  const run = left.runId;
  if (options.installation.scram.status().state !== "ARMED") return { run, status: "open" };
  const { status } = await carryOut(options, standing, left, standing.movedBack);
  return { run, status: status === "pending" ? "open" : status };
}

/** Names the rollback at work, from before its first entry until all of it is done. */
const MARK = "run";

interface Rollback {
  readonly runId: string;
  readonly plan: RollbackPlan;
  /** As an earlier process left it; null for a new one. */
  readonly row: RunRow | null;
}

/** A rollback of the run that was admitted and has not ended; of one that has, what is left is done. */
async function findLeft(options: ExecOptions, ofRun: string): Promise<Rollback | null> {
  const { installation, tenantId } = options;
  const folder = rollbackFolder(installation, ofRun);
  const mark = join(folder, MARK);
  if (!existsSync(mark)) return null;
  const runId = readFileSync(mark, "utf8");
  const row = await installation.store.findRun(tenantId, runId);
  const ended = row === null || (row.sealed !== null && isPublished(installation, runId));
  if (ended) {
    clear(folder);
    return null;
  }
  const plan = parseFormat(rollbackPlan, parseCanonicalJson(row.plan), "plan");
  return { runId, plan, row };
}

/** Copies of what could not be put back stay where the message says they are. */
function clear(folder: string): void {
  if (!isSwitchOpen(join(folder, "switch"))) rmSync(folder, { recursive: true, force: true });
}

/** @param move false ends it where it stands, if its step is not done */
async function carryOut(
  options: ExecOptions,
  { repository, frozen, row: of }: Standing,
  { runId, plan, row }: Rollback,
  move = true,
): Promise<RunResult> {
  const { installation } = options;
  const folder = rollbackFolder(installation, of.runId);
  if (row !== null && row.sealed !== null) {
    const result = await publishSealed(options, row);
    // First the ref: a kill in between leaves the folder, by which the rollback is found again.
    await releaseKept(repository, of.runId, ["rolled-back"]);
    clear(folder);
    return result;
  }
  if (row !== null) requireArmed(installation, { tenant_id: options.tenantId, run_id: runId });
  const context = await openSession(options, {
    runId,
    name: "rollback",
    mode: of.mode,
    policy: frozen.policy,
    plan,
    config: { mode: of.mode },
    row,
    effects: (artifacts) => rollbackEffects(installation, repository, folder, artifacts),
  });
  const { session } = context;
  try {
    if (row === null) await session.admit();
    else await session.note("run.resumed", "INFO", { from: row.status });
    const { of_run, ref, base, head } = plan;
    const params = { of_run, ref, base, head };
    const action = { type: "git.rollback", resource: of_run, params };
    const step = { stepId: STEP, role: frozen.planned.request.role, action };
    const left = move || session.isDone(STEP) ? step : null;
    const resume = `sovereign exec rollback ${of.runId}`;
    const result = await waitingForKeys(session, resume, () =>
      withTools(context.tools, false, () => undo(options, context, left)),
    );
    // First the ref: a kill in between leaves the folder, by which the rollback is found again.
    await releaseKept(repository, of.runId, ["rolled-back"]);
    clear(folder);
    return result;
  } finally {
    context.stopWatching();
  }
}

type Step = Parameters<ExecContext["session"]["perform"]>[0];

async function undo(
  options: ExecOptions,
  context: ExecContext,
  step: Step | null,
): Promise<RunResult> {
  const { session, runId } = context;
  const stop = step === null ? null : await perform(context, step);
  if (stop !== null) await recordProof(context);
  if (!(await readAttested(options.installation, options.tenantId, runId)))
    await attestGates(options, context);
  const reason =
    step === null ? "It was killed before it moved the branch." : (stop?.message ?? null);
  const status = reason === null ? "completed" : "failed";
  const published = await sealRun(options, context, status, reason);
  return {
    runId,
    status,
    reason,
    outcome: stop?.outcome ?? null,
    code: stop?.outcome.code ?? null,
    ...published,
    artifacts: [...session.artifacts],
  };
}

/** What a rollback that failed has proved about itself: gates judge it like any other. */
async function recordProof({ artifacts, session }: ExecContext): Promise<void> {
  const name = GATE_DOCUMENTS.rollbackProof;
  const path = artifacts.pathOf({ name });
  if (!existsSync(path)) return;
  const kept = await artifacts.put(name, readFileSync(path), "application/json");
  await session.recordEvidence([kept]);
}

/** @throws what is not there now, such as ERR_STORE_UNAVAILABLE: what was begun waits */
async function perform({ session }: ExecContext, step: Step): Promise<RunStopped | null> {
  try {
    await session.perform(step);
    return null;
  } catch (error) {
    if (!(error instanceof RunStopped)) throw error;
    const { status, code } = error.outcome;
    if (status !== "UNAVAILABLE" && !error.passes) return error;
    const text = `${error.message} Try sovereign exec rollback again later: it goes on.`;
    throw new SovereignError(
      status === "UNAVAILABLE" ? "ERR_STORE_UNAVAILABLE" : code,
      text,
      {},
      error,
    );
  }
}

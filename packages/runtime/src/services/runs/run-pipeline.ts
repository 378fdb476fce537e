import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import {
  type ArtifactRef,
  digestOf,
  isSovereignError,
  type JsonObject,
  type Mode,
  parseCanonicalJson,
  SovereignError,
} from "@sovereign/core";
import { newId, systemEntropy } from "../../system/index.ts";
import type { Outcome } from "../../kernel/index.ts";
import {
  ballotsOf,
  createModelRegistry,
  createPipelineEffects,
  type FrozenPipeline,
  findModules,
  freezePipeline,
  openFrozen,
  PipelineRun,
  SwitchedModels,
} from "../../pipeline/index.ts";
import { PolicyEngine, parsePolicy } from "../../policy/index.ts";
import {
  type ArtifactStore,
  checkTenant,
  isPassing,
  type RunRow,
  RunStopped,
} from "../../runs/index.ts";
import {
  authorityOf,
  demandsOf,
  type OpenedSession,
  openRunSession,
  type SessionOptions,
} from "./open-session.ts";
import { requireRunKeys, waitingForKeys } from "../../installation/index.ts";
import { publishSealed, sealRun } from "./seal-run.ts";
import { makeRunFolder, runNotFound } from "./run-folder.ts";
import type { RunResult } from "./run-result.ts";
import { requireArmed } from "./require-armed.ts";

export interface SubmitOptions extends SessionOptions {
  readonly pipeline: string;
  readonly mode: Mode;
  readonly faults: readonly string[];
}

/** Submit a pipeline and run it to its end, or until it waits for people. */
export async function submitPipeline(options: SubmitOptions): Promise<RunResult> {
  const { installation, pipeline, mode, faults } = options;
  checkTenant(options.tenantId);
  await requireRunKeys(installation, authorityOf(installation, null));
  const runId = newId("run_", systemEntropy);
  const folder = await makeRunFolder(installation, options.tenantId, runId);
  const frozen = await freezePipeline(pipeline, folder.path, faults);
  const context = await prepare(options, frozen, runId, mode, null);
  await folder.admit(() => context.session.admit());
  const { name, stages } = frozen.pipeline;
  options.onProgress({ event: "run.started", run: runId, name, stages: stages.length });
  return finish(options, frozen, context);
}

export type ResumeOptions = Omit<SubmitOptions, "pipeline" | "mode" | "faults">;

/**
 * Go on with a run that stopped: after a crash, a Ctrl-C, or for approvals. Of one that ended, the
 * evidence that a kill kept from being written is written.
 *
 * @throws ERR_RUN_NOT_FOUND, ERR_RUN_SEALED, ERR_RUN_DIVERGED
 */
export async function resumePipeline(options: ResumeOptions, runId: string): Promise<RunResult> {
  const { installation, tenantId } = options;
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  if (row.sealed !== null) return publishSealed(options, row);
  requireArmed(installation, { tenant_id: tenantId, run_id: runId });
  const plan = parseCanonicalJson(row.plan) as JsonObject;
  const faults = Array.isArray(plan["faults"]) ? plan["faults"].map(String) : [];
  const frozen = await openFrozen(installation.folder.run(runId), faults);
  if (digestOf(frozen.plan) !== row.planDigest) {
    throw new SovereignError(
      "ERR_RUN_DIVERGED",
      `The files of run ${runId} are not those that its plan names.`,
      { runId },
    );
  }
  const all = { ...options, mode: row.mode, faults, pipeline: "" };
  const context = await prepare(all, frozen, runId, row.mode, row);
  await context.session.note("run.resumed", "INFO", { from: row.status });
  const { name, stages } = frozen.pipeline;
  options.onProgress({ event: "run.resumed", run: runId, name, stages: stages.length });
  return finish(all, frozen, context);
}

interface RunContext extends OpenedSession {
  readonly modules: string | null;
  readonly models: SwitchedModels;
}

async function prepare(
  options: SubmitOptions,
  frozen: FrozenPipeline,
  runId: string,
  mode: Mode,
  row: RunRow | null,
): Promise<RunContext> {
  const { installation } = options;
  const { store, clock, folder } = installation;
  const modules = modulesOf(folder.run(runId), options.pipeline);
  const policy = parsePolicy(frozen.policyBytes, frozen.policyPath);
  const registry = createModelRegistry({ folder: folder.registry, clock, entropy: systemEntropy });
  const opened = await openRunSession(options, {
    runId,
    name: frozen.pipeline.name,
    mode,
    policy: new PolicyEngine(policy),
    demands: demandsOf(policy),
    plan: frozen.plan,
    config: configOf(frozen, mode),
    ballots: ballotsOf(frozen.pipeline),
    row,
    artifacts: "artifacts",
    effects: (artifacts, sandbox) =>
      createPipelineEffects({
        sandbox,
        artifacts,
        programs: join(frozen.folder, "programs"),
        modules,
        scratch: join(folder.run(runId), "scratch"),
        registry,
        ledger: store,
      }),
  });
  return { ...opened, modules, models: new SwitchedModels(registry, store, options.tenantId) };
}

/** The libraries are found beside the pipeline; a resumed run uses those that it began with. */
function modulesOf(runFolder: string, pipeline: string): string | null {
  const note = join(runFolder, "modules.txt");
  if (pipeline !== "") {
    writeFileSync(note, findModules(dirname(resolve(pipeline))) ?? "", { mode: 0o600 });
  }
  const path = readFileSync(note, "utf8");
  return path === "" ? null : path;
}

/** What the run is configured with; the plan holds the rest. */
function configOf(frozen: FrozenPipeline, mode: Mode): JsonObject {
  const { governance, version, seed } = frozen.pipeline;
  return { governance: governance, version, seed, mode };
}

async function finish(
  options: SubmitOptions,
  frozen: FrozenPipeline,
  context: RunContext,
): Promise<RunResult> {
  const { session } = context;
  try {
    const run = new PipelineRun({
      frozen,
      session,
      models: context.models,
      authority: context.authority,
      artifacts: context.artifacts,
      clock: options.installation.clock,
      modulesDigest: modulesDigestOf(context.modules),
      onProgress: options.onProgress,
    });
    await run.run(await importDataset(frozen, context.artifacts));
    return await end(options, context, "completed", null, null, null);
  } catch (error) {
    const resume = `sovereign run resume ${session.plan.runId}`;
    return await waitingForKeys(session, resume, () => stopped(options, context, error));
  } finally {
    context.stopWatching();
  }
}

/** A run that waits, was interrupted or lacks what will be there again stays open; else it ends. */
async function stopped(
  options: SubmitOptions,
  context: RunContext,
  error: unknown,
): Promise<RunResult> {
  if (isSovereignError(error)) {
    // What is not there now, such as the ledger, ends no run: it can be resumed.
    if (isPassing(error.code)) throw error;
    return end(options, context, "failed", error.message, null, error.code);
  }
  if (!(error instanceof RunStopped)) throw error;
  const { outcome } = error;
  if (outcome.status === "UNAVAILABLE") {
    throw new SovereignError("ERR_STORE_UNAVAILABLE", `${error.message} Resume the run later.`);
  }
  const interrupted = outcome.status === "KILLED" && options.signal.aborted;
  if (error.passes || interrupted) {
    await context.session.suspend(error.message);
    return resultOf(context, "pending", error.message, outcome, outcome.code);
  }
  return end(options, context, "failed", error.message, outcome, outcome.code);
}

async function end(
  options: SubmitOptions,
  context: RunContext,
  status: "completed" | "failed",
  reason: string | null,
  outcome: Outcome | null,
  code: string | null,
): Promise<RunResult> {
  const published = await sealRun(options, context, status, reason);
  return { ...resultOf(context, status, reason, outcome, code), ...published };
}

function resultOf(
  context: RunContext,
  status: RunResult["status"],
  reason: string | null,
  outcome: Outcome | null,
  code: string | null,
): RunResult {
  const { session } = context;
  const { runId } = session.plan;
  const artifacts = [...session.artifacts];
  return { runId, status, reason, outcome, code, bundle: null, trustRoot: null, artifacts };
}

async function importDataset(
  frozen: FrozenPipeline,
  artifacts: ArtifactStore,
): Promise<Record<string, ArtifactRef>> {
  const { dataset } = frozen.pipeline;
  const read = (path: string): Uint8Array => readFileSync(join(frozen.folder, "files", path));
  const data = await artifacts.put("dataset/data", read(dataset.path), "text/csv");
  if (dataset.descriptor === undefined) return { data };
  const bytes = read(dataset.descriptor.path);
  return { data, descriptor: await artifacts.put("dataset/descriptor", bytes, "application/json") };
}

/** The installed libraries by the package manager's own record of them, with their integrity. */
function modulesDigestOf(modules: string | null): string | null {
  if (modules === null) return null;
  const record = join(modules, ".package-lock.json");
  if (!existsSync(record)) return null;
  return createHash("sha256").update(readFileSync(record)).digest("hex");
}

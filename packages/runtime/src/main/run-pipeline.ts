import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import {
  type ArtifactRef,
  digestOf,
  type Envelope,
  fields,
  INSTALLATION_LOG,
  isSovereignError,
  type JsonObject,
  type JsonValue,
  type Mode,
  parseCanonicalJson,
  SovereignError,
} from "@sovereign/core";
import { Authority } from "../authority/index.ts";
import { createKernel, newId, type Outcome, type Pending, systemEntropy } from "../kernel/index.ts";
import { EMPTY_STREAM, StreamWriter } from "../ledger/index.ts";
import {
  createModelRegistry,
  createPipelineEffects,
  type FrozenPipeline,
  findModules,
  freezePipeline,
  openFrozen,
  PipelineRun,
  type Progress,
} from "../pipeline/index.ts";
import { PolicyEngine, parsePolicy } from "../policy/index.ts";
import {
  ArtifactStore,
  exportBundle,
  type RunPlan,
  type RunRow,
  RunRecorder,
  RunSession,
  RunStopped,
} from "../runs/index.ts";
import { connectSandbox } from "../sandbox/index.ts";
import type { ScramLink, WorkOwner } from "../scram/index.ts";
import type { Installation } from "./installation.ts";
import { readApprovals } from "./approvals.ts";
import { writeWhole } from "./write-whole.ts";

export interface SubmitOptions {
  readonly installation: Installation;
  readonly pipeline: string;
  readonly tenantId: string;
  readonly mode: Mode;
  readonly faults: readonly string[];
  /** Roles whose keys the caller holds here and consents with. */
  readonly approvers: readonly string[];
  readonly allowCompatible: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

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

/** Submit a pipeline and run it to its end, or until it waits for people. */
export async function submitPipeline(options: SubmitOptions): Promise<RunResult> {
  const { installation, pipeline, mode, faults } = options;
  checkTenant(options.tenantId);
  const runId = newId("run_", systemEntropy);
  const folder = installation.folder.run(runId);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const frozen = await freezePipeline(pipeline, folder, faults);
  const context = await prepare(options, frozen, runId, mode, null);
  await context.session.admit();
  const { name, stages } = frozen.pipeline;
  options.onProgress({ event: "run.started", run: runId, name, stages: stages.length });
  return finish(options, frozen, context);
}

/** A tenant's name becomes its log's name, an origin and a file's: the installation's is taken. */
function checkTenant(tenantId: string): void {
  if (fields.name.safeParse(tenantId).success && tenantId !== INSTALLATION_LOG) return;
  throw new SovereignError(
    "ERR_TENANT_INVALID",
    `The tenant ${JSON.stringify(tenantId.slice(0, 80))}: expected 1 to 63 of a-z 0-9 _ . -, starting with a letter, and not "${INSTALLATION_LOG}".`,
  );
}

export type ResumeOptions = Omit<SubmitOptions, "pipeline" | "mode" | "faults">;

/**
 * Go on with a run that stopped: after a crash, a Ctrl-C, or for approvals.
 *
 * @throws ERR_RUN_NOT_FOUND, ERR_RUN_SEALED, ERR_RUN_DIVERGED
 */
export async function resumePipeline(options: ResumeOptions, runId: string): Promise<RunResult> {
  const { installation, tenantId } = options;
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) {
    throw new SovereignError("ERR_RUN_NOT_FOUND", `Tenant ${tenantId} has no run ${runId}.`);
  }
  if (row.sealed !== null) {
    throw new SovereignError("ERR_RUN_SEALED", `Run ${runId} has ended: ${row.status}.`);
  }
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

interface RunContext {
  readonly session: RunSession;
  readonly authority: Authority;
  readonly artifacts: ArtifactStore;
  readonly modules: string | null;
  readonly stopWatching: () => void;
}

async function prepare(
  options: SubmitOptions,
  frozen: FrozenPipeline,
  runId: string,
  mode: Mode,
  row: RunRow | null,
): Promise<RunContext> {
  const { installation, tenantId } = options;
  const { store, keyLog, keystore, clock, folder } = installation;
  const scram = await installation.guard();
  const owner = { tenant_id: tenantId, run_id: runId };
  const policy = new PolicyEngine(parsePolicy(frozen.policyBytes, frozen.policyPath));
  const epoch = row === null ? null : await store.claimRun(runId);
  const head = row === null ? EMPTY_STREAM : await store.streamHead(tenantId, runId);
  const writer = new StreamWriter(store, tenantId, runId, head);
  const recorder = new RunRecorder({ runId, tenantId, writer, clock, epoch });
  const artifacts = new ArtifactStore(join(folder.run(runId), "artifacts"));
  const modules = modulesOf(folder.run(runId), options.pipeline);
  const authority = new Authority({
    keystore,
    keys: () => keyLog.current(),
    decide: (action, context) => policy.decide(action, context),
    clock,
    entropy: systemEntropy,
  });
  const effects = createPipelineEffects({
    sandbox: connectSandbox(scram, owner),
    artifacts,
    programs: join(frozen.folder, "programs"),
    modules,
    scratch: join(folder.run(runId), "scratch"),
    registry: createModelRegistry({ folder: folder.registry, clock, entropy: systemEntropy }),
    ledger: store,
  });
  const kernel = createKernel({
    scram,
    policy,
    keys: { current: () => keyLog.current(), refresh: () => keyLog.refresh() },
    recorder,
    effects,
    clock,
    allowCompatible: options.allowCompatible,
  });
  const { signal, stopWatching } = stoppable(options.signal, scram, owner);
  const plan: RunPlan = {
    runId,
    tenantId,
    name: frozen.pipeline.name,
    mode,
    installationId: installation.id,
    plan: frozen.plan,
    config: configOf(frozen, mode),
    policyDigest: policy.policyDigest,
  };
  const session = new RunSession({
    plan,
    store,
    recorder,
    kernel,
    authority,
    keyLog,
    clock,
    signal,
    approvals: (pending) => gatherApprovals(options, authority, runId, pending),
    steps: row === null ? [] : await store.listSteps(tenantId, runId),
  });
  return { session, authority, artifacts, modules, stopWatching };
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

/** One signal for both: Ctrl-C, and a kill switch that trips while work runs. */
function stoppable(
  outer: AbortSignal,
  scram: ScramLink,
  owner: WorkOwner,
): { signal: AbortSignal; stopWatching: () => void } {
  const controller = new AbortController();
  outer.addEventListener("abort", () => {
    controller.abort(outer.reason);
  });
  const stopWatching = scram.onStop(owner, ({ code, reason }) => {
    controller.abort(new SovereignError(code, `The kill switch is ${reason}.`));
  });
  return { signal: controller.signal, stopWatching };
}

/** Approvals that were given before, and those that the caller gives now with keys held here. */
async function gatherApprovals(
  options: SubmitOptions,
  authority: Authority,
  runId: string,
  pending: Pending,
): Promise<readonly Envelope[] | null> {
  const { installation, tenantId, approvers, onProgress } = options;
  const wanted = pending.decision.approvals;
  if (wanted === null) return null;
  onProgress({ event: "approval.needed", action: pending.actionDigest, reason: pending.reason });
  const envelopes = await readApprovals(installation.store, tenantId, runId, pending.actionDigest);
  for (const role of approvers.filter((one) => wanted.roles.includes(one))) {
    envelopes.push(
      await authority.issueApproval(role, pending.actionDigest, pending.contextDigest),
    );
    onProgress({ event: "approval.given", role });
  }
  return envelopes.length >= wanted.required ? envelopes : null;
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
      authority: context.authority,
      artifacts: context.artifacts,
      clock: options.installation.clock,
      modulesDigest: modulesDigestOf(context.modules),
      onProgress: options.onProgress,
    });
    await run.run(await importDataset(frozen, context.artifacts));
    return await end(options, context, "completed", null, null, null);
  } catch (error) {
    return await stopped(options, context, error);
  } finally {
    context.stopWatching();
  }
}

/** A run that waits or was interrupted stays open; every other stop is its end. */
async function stopped(
  options: SubmitOptions,
  context: RunContext,
  error: unknown,
): Promise<RunResult> {
  if (isSovereignError(error)) {
    // Without the ledger there is nothing to end the run with: it can be resumed.
    if (error.code === "ERR_STORE_UNAVAILABLE" || error.code === "ERR_RUN_FENCED") throw error;
    return end(options, context, "failed", error.message, null, error.code);
  }
  if (!(error instanceof RunStopped)) throw error;
  const { outcome } = error;
  const interrupted = outcome.status === "KILLED" && options.signal.aborted;
  if (outcome.status === "PENDING" || interrupted) {
    await context.session.suspend(error.message);
    return resultOf(context, "pending", error.message, outcome, outcome.code);
  }
  if (outcome.status === "UNAVAILABLE") {
    throw new SovereignError("ERR_STORE_UNAVAILABLE", `${error.message} Resume the run later.`);
  }
  return end(options, context, "failed", error.message, outcome, outcome.code);
}

/** Seal the run, sign the logs' heads, and write the evidence into the run's folder. */
async function end(
  options: SubmitOptions,
  context: RunContext,
  status: "completed" | "failed",
  reason: string | null,
  outcome: Outcome | null,
  code: string | null,
): Promise<RunResult> {
  const { installation, tenantId } = options;
  const { session, authority } = context;
  await session.seal(status, reason);
  const signer = await authority.signer("checkpoint", null);
  for (const log of [tenantId, INSTALLATION_LOG]) {
    await installation.store.sealCheckpoint(log, installation.origin(log), signer);
  }
  const { runId } = session.plan;
  const folder = installation.folder.run(runId);
  const bundle = join(folder, "compliance_bundle.json");
  const bytes = await exportBundle({
    ledger: installation.store,
    installationId: installation.id,
    tenantId,
    runId,
    readArtifact: null,
  });
  const trustRoot = join(folder, "trust-root.json");
  writeWhole(trustRoot, JSON.stringify(installation.keyLog.trustRoot(), null, 2));
  writeWhole(bundle, bytes);
  const result = { ...resultOf(context, status, reason, outcome, code), bundle, trustRoot };
  const summary = join(folder, "execution_summary.json");
  writeWhole(summary, JSON.stringify(summaryOf(context, result), null, 2));
  return result;
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

function summaryOf(context: RunContext, result: RunResult): JsonValue {
  const { plan, planDigest, configDigest } = context.session;
  return {
    run_id: result.runId,
    tenant_id: plan.tenantId,
    name: plan.name,
    mode: plan.mode,
    status: result.status,
    reason: result.reason,
    plan_digest: planDigest,
    config_digest: configDigest,
    policy_digest: plan.policyDigest,
    artifacts: result.artifacts.map((one) => ({ ...one })),
  };
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

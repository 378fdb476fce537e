import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type ArtifactRef, type JsonObject, type Mode, parseCanonicalJson } from "@sovereign/core";
import { requireOwnFile } from "../../system/index.ts";
import type { SwitchedModels } from "../../pipeline/index.ts";
import {
  ballotsOf,
  createPipelineEffects,
  type FrozenPipeline,
  findModules,
  freezePipeline,
  openFrozen,
  PipelineRun,
} from "../../pipeline/index.ts";
import { PolicyEngine, parsePolicy } from "../../policy/index.ts";
import { type ArtifactStore, ARTIFACT_BYTES_MAX } from "../../runs/index.ts";
import { askedRoles } from "./asked-roles.ts";
import {
  COMPLETED,
  type Ending,
  type Held,
  KindWork,
  type KnownRun,
  NOTHING_HELD,
  type RunKind,
  type RunOptions,
  submitRun,
} from "./lifecycle.ts";
import { FailedLogs } from "./failed-logs.ts";
import {
  demandsOf,
  type OpenedSession,
  openRunSession,
  type SessionOptions,
} from "./open-session.ts";
import { openModels } from "./repair-registry.ts";
import { refuseTools } from "./refuse-tools.ts";
import type { RunResult } from "./run-result.ts";

export interface SubmitOptions extends SessionOptions {
  readonly pipeline: string;
  readonly mode: Mode;
  readonly faults: readonly string[];
}

/** Submit a pipeline and run it to its end, or until it waits for people. */
export function submitPipeline(options: SubmitOptions): Promise<RunResult> {
  const { pipeline, mode, faults } = options;
  return submitRun(PIPELINE, { ...options, waitMs: 0 }, { pipeline, mode, faults });
}

interface PipelineInput {
  /** The pipeline's file. */
  readonly pipeline: string;
  readonly mode: Mode;
  /** Roles whose agents are told to lie. */
  readonly faults: readonly string[];
}

interface Frozen {
  readonly pipeline: FrozenPipeline;
  readonly plan: JsonObject;
  /** The folder of installed libraries that the programs see, beside the pipeline; null for none. */
  readonly modules: string | null;
}

export const PIPELINE: RunKind<PipelineInput, Frozen, Held> = {
  hold: () => Promise.resolve(NOTHING_HELD),
  holdAgain: () => Promise.resolve(NOTHING_HELD),
  freeze: async (_options, { pipeline, faults }, folder) => {
    const modules = findModules(dirname(resolve(pipeline)));
    const frozen = await freezePipeline(pipeline, folder, faults);
    refuseTools(parsePolicy(frozen.policyBytes, frozen.policyPath), "pipeline", frozen.policyPath);
    return { pipeline: frozen, modules, plan: { ...frozen.plan, modules } };
  },
  open: async ({ installation }, row) => {
    const plan = parseCanonicalJson(row.plan) as JsonObject;
    const faults = Array.isArray(plan["faults"]) ? plan["faults"].map(String) : [];
    const folder = installation.folder.run(row.runId);
    const frozen = await openFrozen(folder, faults);
    const { modules } = plan;
    // The plan of before does not name the libraries.
    if (modules === undefined) {
      return { pipeline: frozen, modules: notedModules(folder), plan: frozen.plan };
    }
    const named = typeof modules === "string" ? modules : null;
    return { pipeline: frozen, modules: named, plan: { ...frozen.plan, modules: named } };
  },
  work: async (options, run) => new PipelineWork(options, run, await openPipeline(options, run)),
  asks: ({ pipeline: frozen }) => [
    ...frozen.pipeline.governance.approvals.roles,
    ...askedRoles(parsePolicy(frozen.policyBytes, frozen.policyPath)),
  ],
};

type Known = KnownRun<Frozen, Held>;
type Opened = OpenedSession & { readonly models: SwitchedModels; readonly logs: FailedLogs };

async function openPipeline(options: RunOptions, run: Known): Promise<Opened> {
  const { installation } = options;
  const { store, folder } = installation;
  const { runId, mode, row } = run;
  const { pipeline: frozen, modules, plan } = run.frozen;
  const logs = new FailedLogs(options);
  const policy = parsePolicy(frozen.policyBytes, frozen.policyPath);
  const { registry, models } = openModels(installation, options.tenantId);
  const opened = await openRunSession(options, {
    runId,
    name: frozen.pipeline.name,
    mode,
    policy: new PolicyEngine(policy),
    demands: demandsOf(policy),
    plan,
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
        onFailedLog: logs.of(artifacts),
      }),
  });
  return { ...opened, logs, models };
}

class PipelineWork extends KindWork {
  readonly recallsAlone = true;
  readonly #options: RunOptions;
  readonly #run: Known;
  readonly #models: SwitchedModels;
  readonly #logs: FailedLogs;

  constructor(options: RunOptions, run: Known, opened: Opened) {
    super(opened, `sovereign run resume ${run.runId}`);
    this.#options = options;
    this.#run = run;
    this.#models = opened.models;
    this.#logs = opened.logs;
  }

  announce(): void {
    const { runId, row, frozen } = this.#run;
    const { name, stages } = frozen.pipeline.pipeline;
    const event = row === null ? "run.started" : "run.resumed";
    this.#options.onProgress({ event, run: runId, name, stages: stages.length });
  }

  async carryOut(): Promise<Ending> {
    const { pipeline: frozen, modules } = this.#run.frozen;
    const { session, authority, artifacts } = this.opened;
    const run = new PipelineRun({
      frozen,
      session,
      models: this.#models,
      authority,
      artifacts,
      clock: this.#options.installation.clock,
      modulesDigest: modulesDigestOf(modules),
      onProgress: this.#options.onProgress,
    });
    await run.run(await importDataset(frozen, artifacts));
    return COMPLETED;
  }

  async conclude(): Promise<void> {
    const { refs } = this.#logs;
    if (refs.length > 0) await this.opened.session.recordEvidence(refs);
  }
}

/** Where an earlier version noted the folder of libraries that a run began with. */
function notedModules(runFolder: string): string | null {
  return requireOwnFile(join(runFolder, MODULES)).toString("utf8") || null;
}

const MODULES = "modules.txt";

/** What the run is configured with; the plan holds the rest. */
function configOf(frozen: FrozenPipeline, mode: Mode): JsonObject {
  const { governance, version, seed } = frozen.pipeline;
  return { governance: governance, version, seed, mode };
}

async function importDataset(
  frozen: FrozenPipeline,
  artifacts: ArtifactStore,
): Promise<Record<string, ArtifactRef>> {
  const { dataset } = frozen.pipeline;
  const read = (path: string): Uint8Array =>
    requireOwnFile(join(frozen.folder, "files", path), ARTIFACT_BYTES_MAX);
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

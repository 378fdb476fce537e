import { setTimeout as sleep } from "node:timers/promises";
import {
  type ArtifactRef,
  type JsonObject,
  type PlacedEntry,
  SovereignError,
} from "@sovereign/core";
import { findNamed, findProgram, INSTALLED, secretsOf } from "../../coding/index.ts";
import type { Settings } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import { readRun } from "../../ledger/index.ts";
import { ArtifactStore, type RunRow } from "../../runs/index.ts";
import { ensureKeys } from "../exec/exec-services.ts";
import type { Opened } from "../opened.ts";
import { continueRun, type RunOptions, submitRun } from "../runs/lifecycle.ts";
import { runNotFound } from "../runs/run-folder.ts";
import { type RunReport, type RunResult, reportOf } from "../runs/run-result.ts";
import type { Services } from "../services.ts";
import type { AgentContinueInput, AgentDecision, DispatchInput } from "./agent-reports.ts";
import { examineAgents } from "./agent-doctor.ts";
import { agentKind, type AgentParts } from "./agent-kind.ts";
import { readOrder } from "./agent-request.ts";
import { agentsFolder } from "./agents-folder.ts";
import { startInBackground } from "./background.ts";
import { collectResult } from "./collect-result.ts";
import { comparing } from "./compare/compare-services.ts";
import { modelDoor } from "./model-door.ts";
import { toolHealth } from "./tool-health.ts";
import { verifyPack } from "./verify-pack.ts";
import { prepareGiven, type PreparedTask, prepareTyped } from "./task-packs.ts";

type AgentServices = Pick<
  Services,
  | "runAgent"
  | "startAgentInBackground"
  | "compareAgents"
  | "continueAgent"
  | "agentDiff"
  | "followAgent"
  | "agentDoctor"
  | "packTask"
  | "dispatchTool"
  | "collectResult"
  | "verifyPack"
  | "toolHealth"
>;

type Undecided = Omit<AgentContinueInput, "decision">;

/** Coding agents that work on a repository. */
export function agentServices(settings: Settings, opened: Opened): AgentServices {
  const { environment, allowCompatible } = settings;
  const folder = agentsFolder(environment);
  const partsOf = (installation: Installation, vendor: string | null): AgentParts => ({
    program: (adapter, command, root) => {
      const known = INSTALLED.find((one) => one.name === adapter.name);
      if (known !== undefined) return findProgram(known, folder);
      const path = environment["PATH"] ?? "";
      return findNamed(command ?? [], { installed: INSTALLED, folder, path, root });
    },
    secrets: secretsOf(environment),
    model: (run) => modelDoor({ installation, environment, vendor, ...run }),
  });
  const optionsOf = (installation: Installation, input: Undecided): RunOptions => ({
    ...input,
    installation,
    allowCompatible,
  });
  const startIn = async (
    installation: Installation,
    input: AgentContinueInput & Pick<DispatchInput, "repository" | "vendor" | "branch">,
    { order, policy, given, at }: PreparedTask,
  ): Promise<RunReport> => {
    const read = readOrder(order, policy, at);
    await ensureKeys(installation, settings, read, { ...input, mode: "sovereign" });
    const { repository, branch } = input;
    const kind = agentKind(input.decision, partsOf(installation, input.vendor));
    const { agent, command } = order;
    const about = { read, agent, command, repository, branch, environment };
    const wanted = { ...about, taskPack: given.bytes, mode: "sovereign" } as const;
    return reportOf(await submitRun(kind, optionsOf(installation, input), wanted));
  };
  const start = (
    input: AgentContinueInput & Pick<DispatchInput, "repository" | "vendor" | "branch">,
    task: PreparedTask,
  ): Promise<RunReport> => opened((installation) => startIn(installation, input, task));
  return {
    // Before anything is started for it: what may not apply is refused at once.
    runAgent: async (input) =>
      start(input, await prepareTyped(settings, input, input.role, input.command)),
    dispatchTool: async (input) => start(input, await prepareGiven(settings, input)),
    packTask: async (input) => (await prepareTyped(settings, input, "executor")).given.bytes,
    startAgentInBackground: (words) => startInBackground(settings, words),
    compareAgents: comparing(settings, opened, optionsOf, startIn),
    collectResult: (tenantId, runId) =>
      opened(async (installation) => {
        const row = await agentRun(installation, tenantId, runId);
        return collectResult({ installation, tenantId }, row);
      }),
    verifyPack: (files, tenantId) => verifyPack(files, settings.home, opened, tenantId),
    toolHealth: async (tenantId, tryModel) =>
      toolHealth(await examineAgents(settings, opened, tenantId, false), tryModel),
    continueAgent: (runId, input) =>
      opened(async (installation) => {
        const row = await agentRun(installation, input.tenantId, runId);
        const kind = agentKind(input.decision, partsOf(installation, null));
        const result = await continueRun(kind, optionsOf(installation, input), row);
        return reportOf(unlessApplied(result, input.decision));
      }),
    agentDiff: (tenantId, runId) =>
      opened(async (installation) => {
        await agentRun(installation, tenantId, runId);
        return readPatch(installation, tenantId, runId);
      }),
    followAgent: (tenantId, runId, { follow, signal, onEntry }) =>
      opened((installation) =>
        followRun(installation, { tenantId, runId, follow, signal, onEntry }),
      ),
    agentDoctor: (tenantId, prove) => examineAgents(settings, opened, tenantId, prove),
  };
}

/** A process that applied it may have been killed before it could say so: that is recorded now. */
function unlessApplied(result: RunResult, decision: AgentDecision): RunResult {
  if (decision !== "discard" || result.status !== "completed") return result;
  const { runId } = result;
  const text = `The result of run ${runId} was applied before it was discarded: its commits are on the branch. To take them back: sovereign exec rollback ${runId}`;
  throw new SovereignError("ERR_RUN_SEALED", text, { runId });
}

/** @throws ERR_RUN_NOT_FOUND, ERR_REQUEST_INVALID */
async function agentRun(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<RunRow> {
  const row = await installation.store.findRun(tenantId, runId);
  if (row === null) throw await runNotFound(installation, tenantId, runId);
  if (row.kind === "agent") return row;
  const text = `Run ${runId} is not a run of an agent. To see what it is: sovereign runs show ${runId}`;
  throw new SovereignError("ERR_REQUEST_INVALID", text, { runId });
}

/** What the agent's step came to, as the ledger names it. */
async function readPatch(
  installation: Installation,
  tenantId: string,
  runId: string,
): Promise<Uint8Array> {
  const store = new ArtifactStore(installation.folder.run(runId));
  let found: ArtifactRef | undefined;
  for await (const { entry } of readRun(installation.store, tenantId, runId)) {
    if (entry.event_type !== "execution.completed") continue;
    const artifacts = entry.data["artifacts"] as unknown as ArtifactRef[];
    found = artifacts.find((one) => one.name.startsWith("patches/")) ?? found;
  }
  if (found !== undefined) return store.get(found);
  const text = `The agent of run ${runId} came to no result. What it did: sovereign agent log ${runId}`;
  throw new SovereignError("ERR_REQUEST_INVALID", text, { runId });
}

const POLL_MS = 300;
const LAST = ["run.sealed", "run.suspended"];

async function followRun(
  installation: Installation,
  asked: {
    readonly tenantId: string;
    readonly runId: string;
    readonly follow: boolean;
    readonly signal: AbortSignal;
    readonly onEntry: (entry: JsonObject) => void;
  },
): Promise<void> {
  const { tenantId, runId, follow, signal, onEntry } = asked;
  await agentRun(installation, tenantId, runId);
  let told = 0;
  for (;;) {
    let at = 0;
    let last = "";
    for await (const placed of readRun(installation.store, tenantId, runId)) {
      at += 1;
      last = placed.entry.event_type;
      if (at <= told) continue;
      told = at;
      onEntry(tellEntry(placed));
    }
    if (!follow || signal.aborted || LAST.includes(last)) return;
    await sleep(POLL_MS);
  }
}

/** One entry in short: what was asked, what was answered. */
function tellEntry({ index, entry }: PlacedEntry): JsonObject {
  const { event_type: event, timestamp, data } = entry;
  const action = data["action"] as ({ type: string; resource: string } & JsonObject) | undefined;
  const context = data["context"] as JsonObject | undefined;
  const params = (action?.["params"] ?? {}) as JsonObject;
  return {
    index,
    at: timestamp,
    event,
    step: context?.["step_id"] ?? data["step_id"] ?? null,
    action: action === undefined ? null : `${action.type} ${action.resource}`,
    extract: params["extract"] ?? null,
    reason: data["reason"] ?? null,
  };
}

import { setTimeout as sleep } from "node:timers/promises";
import {
  type ArtifactRef,
  type JsonObject,
  type PlacedEntry,
  SovereignError,
} from "@sovereign/core";
import { adapterOf, findProgram } from "../../coding/index.ts";
import type { Settings } from "../../home/index.ts";
import type { Installation } from "../../installation/index.ts";
import { readRun } from "../../ledger/index.ts";
import { ArtifactStore, type RunRow } from "../../runs/index.ts";
import { timestampOf } from "../../system/index.ts";
import { ensureKeys } from "../exec/exec-services.ts";
import { readPolicy } from "../exec/read-policy.ts";
import type { Opened } from "../opened.ts";
import { continueRun, type RunOptions, submitRun } from "../runs/lifecycle.ts";
import { runNotFound } from "../runs/run-folder.ts";
import { reportOf } from "../runs/run-result.ts";
import type { Services } from "../services.ts";
import type { AgentContinueInput, AgentRunInput } from "./agent-reports.ts";
import { examineAgents } from "./agent-doctor.ts";
import { agentKind, type AgentParts } from "./agent-kind.ts";
import { type AgentOrder, readOrder, starterPolicy } from "./agent-request.ts";
import { agentsFolder } from "./agents-folder.ts";
import { modelDoor } from "./model-door.ts";

type AgentServices = Pick<
  Services,
  "runAgent" | "continueAgent" | "agentDiff" | "followAgent" | "agentDoctor"
>;

/** Coding agents that work on a repository. */
export function agentServices(settings: Settings, opened: Opened): AgentServices {
  const { environment, allowCompatible } = settings;
  const folder = agentsFolder(environment);
  const partsOf = (installation: Installation, vendor: string | null): AgentParts => ({
    program: (adapter) => findProgram(adapter, folder),
    model: (run) => modelDoor({ installation, environment, vendor, ...run }),
  });
  const optionsOf = (
    installation: Installation,
    input: Omit<AgentContinueInput, "decision">,
  ): RunOptions => ({
    ...input,
    installation,
    allowCompatible,
  });
  return {
    runAgent: (input) => {
      // Before anything is started for it: what may not apply is refused at once.
      const order = orderOf(input);
      const policy = policyOf(settings.home, input, order);
      return opened(async (installation) => {
        const at = timestampOf(installation.clock).replace(/\.\d+Z$/, "Z");
        const read = readOrder(order, policy, at);
        await ensureKeys(installation, settings, read, { ...input, mode: "sovereign" });
        const { agent, repository, branch } = input;
        const kind = agentKind(input.decision, partsOf(installation, input.vendor));
        const about = { read, agent, repository, branch, environment };
        const wanted = { ...about, mode: "sovereign" } as const;
        return reportOf(await submitRun(kind, optionsOf(installation, input), wanted));
      });
    },
    continueAgent: (runId, input) =>
      opened(async (installation) => {
        const row = await agentRun(installation, input.tenantId, runId);
        const kind = agentKind(input.decision, partsOf(installation, null));
        return reportOf(await continueRun(kind, optionsOf(installation, input), row));
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
    agentDoctor: (tenantId) => examineAgents(settings, opened, tenantId),
  };
}

function orderOf(input: AgentRunInput): AgentOrder {
  const { agent, role, task, verify, timeoutSeconds, budgetMicrousd } = input;
  const adapter = adapterOf(agent);
  const model = input.model ?? adapter.defaultModel;
  return { agent, role, task, model, verify, timeoutSeconds, budgetMicrousd };
}

/** The policy that is named, else the repository's own where the user accepted it, else the one that is built in. */
function policyOf(
  home: string,
  { policy, repository }: AgentRunInput,
  order: AgentOrder,
): { path: string; bytes: Uint8Array } {
  try {
    return readPolicy(home, repository, policy);
  } catch (error) {
    const isAbsent = error instanceof SovereignError && error.code === "ERR_POLICY_MISSING";
    if (policy !== undefined || !isAbsent || !error.message.startsWith("No policy is named")) {
      throw error;
    }
    return starterPolicy(order);
  }
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

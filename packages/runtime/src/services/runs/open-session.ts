import { join } from "node:path";
import {
  type ApiCaller,
  digestOf,
  frozenCopy,
  GENESIS_HASH,
  type JsonObject,
  type Mode,
  type RunTrace,
  SovereignError,
} from "@sovereign/core";
import { Authority } from "../../authority/index.ts";
import type { AgentProgress } from "../../coding/index.ts";
import type { ExecProgress } from "../../executor/index.ts";
import { createKernel, type EffectRegistry, type PolicyDecider } from "../../kernel/index.ts";
import { systemEntropy } from "../../system/index.ts";
import { EMPTY_STREAM, StreamWriter } from "../../ledger/index.ts";
import type { Progress } from "../../pipeline/index.ts";
import type { CompiledPolicy } from "../../policy/index.ts";
import { ControlGroups, ToolScope } from "../../process/index.ts";
import {
  ArtifactStore,
  isTraced,
  type RunBudget,
  readRunTrace,
  type RunPlan,
  RunRecorder,
  type RunRow,
  readSteps,
  requireAdmitted,
  RunSession,
} from "../../runs/index.ts";
import { connectSandbox, type Sandbox, type SandboxDemands } from "../../sandbox/index.ts";
import {
  MARKER_VARIABLE,
  type ScramLink,
  TOOLS_PREFIX,
  type WorkOwner,
} from "../../scram/index.ts";
import { requireRunsFolder } from "../../home/index.ts";
import type { GoalProgress } from "../goals/goal-progress.ts";
import { gatherApprovals } from "./gather-approvals.ts";
import { holdTools } from "./hold-tools.ts";
import { stoppable } from "./stop-signal.ts";
import { type Installation, requireRunKeys } from "../../installation/index.ts";

/** Whoever runs something, of whatever kind. */
export interface SessionOptions {
  readonly installation: Installation;
  readonly tenantId: string;
  /** Roles whose keys the caller holds here and consents with. */
  readonly approvers: readonly string[];
  readonly allowCompatible: boolean;
  /** Who submits it over the network; absent for a command of the machine. */
  readonly caller?: ApiCaller;
  /** True to try again what an earlier process recorded as failed. */
  readonly retryFailed?: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress | ExecProgress | AgentProgress | GoalProgress) => void;
}

/**
 * The options as they are now. Whose keys consent is a list that the embedding program holds, and may
 * add to later.
 *
 * @throws ERR_JSON_UNSUPPORTED for a list of approvers that cannot be read
 */
export function ownOptions<T extends SessionOptions>(options: T): T {
  const own = { ...options };
  return { ...own, approvers: frozenCopy(own.approvers) as unknown as readonly string[] };
}

/** What is run. */
export interface SessionParts {
  readonly runId: string;
  readonly name: string;
  readonly mode: Mode;
  readonly policy: PolicyDecider;
  readonly plan: JsonObject;
  readonly config: JsonObject;
  /** Who votes in it, where agents do. */
  readonly ballots?: RunPlan["ballots"];
  /** Who submitted it over the network. */
  readonly caller?: ApiCaller;
  /** The run as an earlier process left it; null for a new one. */
  readonly row: RunRow | null;
  /** What the policy asks of the sandbox. */
  readonly demands: SandboxDemands;
  /** Where the run's artifacts lie, in its folder; empty for the folder itself. */
  readonly artifacts: string;
  /** True where another node may go on with the run: then all that it needs is kept for every node. */
  readonly moves?: true;
  /** What the run's steps are held to, where budgets count them. */
  readonly budget?: RunBudget;
  effects(artifacts: ArtifactStore, sandbox: Sandbox): EffectRegistry;
}

/** What a policy says about it; a policy that is written in Cedar says nothing. */
export function demandsOf({ limits }: Pick<CompiledPolicy, "limits">): SandboxDemands {
  return {
    minimumLevel: limits?.minimum_sandbox_level ?? "G2",
    backend: limits?.sandbox_backend ?? "bubblewrap",
  };
}

export interface OpenedSession {
  readonly session: RunSession;
  readonly authority: Authority;
  readonly artifacts: ArtifactStore;
  readonly scram: ScramLink;
  /** What this process starts for the run outside the sandbox. */
  readonly tools: ToolScope;
  readonly stopWatching: () => void;
  /** What the ledger says of the run's steps, as far as it is recorded; null for kinds without one. */
  readonly trace: RunTrace | null;
}

/** The one door: everything between a run and the kernel, under the sentinel. */
export async function openRunSession(
  options: SessionOptions,
  parts: SessionParts,
): Promise<OpenedSession> {
  const { installation, tenantId } = options;
  const { store, keyLog, clock } = installation;
  const { runId, row, policy } = parts;
  const authority = authorityOf(installation, policy);
  // A server or a worker read the key log long ago: the run may have been begun under a later key.
  await keyLog.refresh();
  await requireRunKeys(installation, authority);
  requireRunsFolder(installation.folder);
  const scram = await installation.guard();
  const owner = { tenant_id: tenantId, run_id: runId };
  if (row !== null) {
    const wanted = {
      planDigest: digestOf(parts.plan),
      configDigest: digestOf(parts.config),
      // What only ends a run has no policy, and allows nothing.
      policyDigest: policy.policyDigest === GENESIS_HASH ? null : policy.policyDigest,
    };
    await requireAdmitted(store, row, wanted, keyLog.current());
  }
  const epoch = row === null ? null : await store.claimRun(tenantId, runId);
  const { steps, head } =
    row === null ? { steps: [], head: EMPTY_STREAM } : await readSteps(store, tenantId, runId);
  const writer = new StreamWriter(store, tenantId, runId, head);
  const trace = isTraced(parts.plan) ? await readRunTrace(store, tenantId, runId) : null;
  const { budget } = parts;
  const held = budget === undefined ? {} : { budget };
  const recorder = new RunRecorder({ runId, tenantId, writer, clock, epoch, trace, ...held });
  const { tools, close } = openTools(scram, owner);
  const contents = parts.moves === true ? (installation.contents?.(tenantId) ?? null) : null;
  const folder = join(installation.folder.run(runId), parts.artifacts);
  const artifacts = new ArtifactStore(folder, contents);
  const kernel = createKernel({
    scram,
    policy,
    keys: { current: () => keyLog.current(), refresh: () => keyLog.refresh() },
    recorder,
    effects: holdTools(
      tools,
      parts.effects(artifacts, connectSandbox(scram, owner, parts.demands)),
    ),
    clock,
    allowCompatible: options.allowCompatible,
  });
  const { signal, ...stop } = stoppable(options.signal, scram, owner);
  const stopWatching = (): void => {
    stop.stopWatching();
    close();
  };
  const session = new RunSession({
    plan: planOf(installation, tenantId, parts),
    store,
    recorder,
    kernel,
    authority,
    keyLog,
    clock,
    signal,
    approvals: (pending) =>
      gatherApprovals(
        { ...options, store, runId, authority, keys: () => keyLog.current() },
        pending,
      ),
    approvers: options.approvers,
    steps,
    retryFailed: options.retryFailed === true,
  });
  return { session, authority, artifacts, scram, tools, stopWatching, trace };
}

function planOf({ id }: Installation, tenantId: string, parts: SessionParts): RunPlan {
  const { runId, name, mode, plan, config, policy, ballots, caller } = parts;
  return {
    runId,
    tenantId,
    name,
    mode,
    installationId: id,
    plan,
    config,
    policyDigest: policy.policyDigest,
    ...(ballots === undefined ? {} : { ballots }),
    ...(caller === undefined ? {} : { caller }),
  };
}

/** The tools of a run die with everything, by the sentinel's hand, and with the run, by ours. */
export function openTools(
  scram: ScramLink,
  owner: WorkOwner,
): { tools: ToolScope; close: () => void } {
  const id = `${TOOLS_PREFIX}${owner.run_id}`;
  const group = ControlGroups.root(scram.name).child(id);
  const place = { groups: group.folders, marker: { [MARKER_VARIABLE]: `${scram.name}/${id}` } };
  const tools = new ToolScope(() => place);
  const stopWatching = scram.onStop(owner, ({ reason }) => {
    tools.stop(`the kill switch is ${reason}`);
  });
  const close = (): void => {
    stopWatching();
    tools.end();
    group.remove();
  };
  return { tools, close };
}

/** The authority of an installation, which asks this policy; without one it permits nothing. */
export function authorityOf(
  installation: Pick<Installation, "keystore" | "keyLog" | "clock">,
  policy: Pick<PolicyDecider, "decide"> | null,
): Authority {
  const { keystore, keyLog, clock } = installation;
  return new Authority({
    keystore,
    keys: () => keyLog.current(),
    decide: (action, context) => {
      if (policy !== null) return policy.decide(action, context);
      throw new SovereignError("ERR_BINDING_REFUSED", "No policy, no permission.");
    },
    clock,
    entropy: systemEntropy,
  });
}

import { join } from "node:path";
import type { LedgerEntry } from "@sovereign/core";
import { EgressDesk, VendorStore } from "../../agents/index.ts";
import { GatewayProcess } from "../../gateway/index.ts";
import { programCommand } from "../../home/index.ts";
import type { EffectRegistry, PolicyDecider } from "../../kernel/index.ts";
import { readRun } from "../../ledger/index.ts";
import type { CompiledPolicy } from "../../policy/index.ts";
import type { ArtifactStore } from "../../runs/index.ts";
import type { Sandbox } from "../../sandbox/index.ts";
import {
  createSkillEffects,
  type ModelCall,
  type OpenModel,
  SandboxedNetwork,
  SkillHost,
} from "../../skills/index.ts";
import { systemEntropy } from "../../system/index.ts";
import { ownSkillsOf } from "../skill-services.ts";
import { modelDoor } from "../agents/model-door.ts";
import type { OpenedSession, SessionOptions } from "../runs/open-session.ts";

export interface GoalSkillsOptions {
  readonly options: SessionOptions;
  readonly runId: string;
  readonly policy: CompiledPolicy;
  readonly decider: PolicyDecider;
  readonly artifacts: ArtifactStore;
  readonly sandbox: Sandbox;
  /** The session is there when a step is carried out. */
  readonly opened: () => Pick<OpenedSession, "session" | "scram">;
}

/** What the steps of one run are done with. */
export interface GoalSkills {
  readonly effects: EffectRegistry;
  /** Record the ends of connections whose process was killed. */
  recover(): Promise<void>;
  /** Resolves when nothing is left of what was started. */
  close(): Promise<void>;
}

/** The hosts and the gateway of a run's skills: each starts with the first step that needs it. */
export function goalSkills(parts: GoalSkillsOptions): GoalSkills {
  const { options, policy, artifacts, sandbox } = parts;
  const { installation, tenantId, signal } = options;
  const host = new SkillHost({ sandbox, signal, gateway: null });
  const network = new SandboxedNetwork({
    sandbox,
    signal,
    startGateway: (socket) => startGateway(parts, socket),
    openModel: (call, socket) => openModel(parts, call, socket),
    deskFor: (action, context) => openDesk(parts, { step: action, context }, null),
  });
  const effects = createSkillEffects({
    artifacts,
    clock: installation.clock,
    isNamed: (type, named) => isNamed(policy, type, named),
    values: installation.store.values(tenantId),
    host,
    network,
    own: { sandbox, skills: ownSkillsOf(installation.folder.root, tenantId) },
  });
  return {
    effects,
    recover: () => recover(parts),
    close: async () => {
      await host.close();
      await network.close();
    },
  };
}

async function startGateway(
  { options, runId, opened }: GoalSkillsOptions,
  socket: string,
): Promise<Pick<GatewayProcess, "grant" | "close">> {
  const { installation, tenantId } = options;
  const owner = { tenant_id: tenantId, run_id: runId };
  const gateway = await GatewayProcess.start({
    command: programCommand("gateway"),
    home: installation.folder.root,
    socket,
    environment: installation.environment,
    owner,
    entropy: systemEntropy,
  });
  const stopWatching = opened().scram.onStop(owner, ({ reason }) => {
    gateway.stop(reason);
  });
  return {
    grant: (step) => gateway.grant(step),
    close: async () => {
      stopWatching();
      await gateway.close();
    },
  };
}

/** The vendor's key is in the model proxy alone, and what a call may cost is recorded before it. */
async function openModel(
  { options, decider, opened }: GoalSkillsOptions,
  { vendor, model, context }: ModelCall,
  socket: string,
): Promise<OpenModel> {
  const { installation, tenantId } = options;
  const { environment, folder } = installation;
  const vendors = new VendorStore(join(folder.root, "models"), null);
  const { wires } = vendors.report(vendor);
  const wire = wires.find((one) => one !== "anthropic_count") ?? null;
  const door = modelDoor({
    ...{ installation, environment, vendor, tenantId, context, model, wire },
    session: () => opened().session,
    scram: () => opened().scram,
    policy: decider,
    budgetMicrousd: null,
    turnsMax: null,
  });
  const way = await door.open(socket);
  return {
    token: way.token,
    wire: wire ?? "",
    close: async () => {
      await way.close();
      return way.spent();
    },
  };
}

type Entries = AsyncIterable<Pick<LedgerEntry, "event_type" | "data">>;

function openDesk(
  { decider, opened }: GoalSkillsOptions,
  about: Pick<Parameters<typeof EgressDesk.open>[0], "step" | "context">,
  entries: Entries | null,
): Promise<EgressDesk> {
  const { session, scram } = opened();
  return EgressDesk.open(
    {
      ...about,
      policy: decider,
      scram,
      record: (event, severity, data) => session.note(event, severity, data),
      entropy: systemEntropy,
    },
    entries,
  );
}

async function recover(parts: GoalSkillsOptions): Promise<void> {
  const { options, runId, opened } = parts;
  const { session } = opened();
  const { configDigest, plan } = session;
  const context = {
    ...{ tenant_id: options.tenantId, run_id: runId, step_id: "recover", attempt: 1 },
    ...{ role: "runner", mode: plan.mode },
    ...{ config_digest: configDigest, policy_digest: plan.policyDigest },
  };
  await openDesk(parts, { context }, entriesOf(options, runId));
}

async function* entriesOf(
  { installation, tenantId }: SessionOptions,
  runId: string,
): AsyncGenerator<LedgerEntry> {
  for await (const { entry } of readRun(installation.store, tenantId, runId)) yield entry;
}

/** A pattern whose host has a wildcard names no host in particular. */
function isNamed({ patterns }: CompiledPolicy, type: string, host: string): boolean {
  return patterns.some(
    ({ kind, glob, args }) =>
      kind === "resource" && args[0] === type && glob.split("/")[0] === host,
  );
}

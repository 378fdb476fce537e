import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, type Toolset, utf8Encode } from "@sovereign/core";
import type { EgressDoor } from "../../../src/agents/index.ts";
import {
  AgentPolicy,
  type AgentProgress,
  adapterOf,
  type AgentAdapter,
  type AgentProgram,
  createAgentEffect,
  findNamed,
  findProgram,
  INSTALLED,
  type ModelDoor,
  ToolCalls,
} from "../../../src/coding/index.ts";
import {
  createExecutorEffects,
  ExecutorRun,
  inspectRepository,
  readHead,
  ReviewedPolicy,
  RunTape,
  workLimits,
  Workspace,
} from "../../../src/executor/index.ts";
import type { LedgerRecord } from "../../../src/kernel/index.ts";
import { PolicyEngine } from "../../../src/policy/index.ts";
import { ArtifactStore, type RunSession, RunStopped } from "../../../src/runs/index.ts";
import { createSandbox, type Sandbox } from "../../../src/sandbox/index.ts";
import { agentsFolder } from "../../../src/services/agents/agents-folder.ts";
import {
  type AgentOrder,
  readOrder,
  starterPolicy,
} from "../../../src/services/agents/agent-request.ts";
import type { HostsWorld } from "../../support/local-hosts.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { buildRun } from "../../support/run-builder.ts";
import { World } from "../../support/world.ts";
import type { TestRepository } from "../../executor/support/repository.ts";

export const RUN = `run_${"a".repeat(20)}`;

export interface WorkOptions {
  readonly model: ModelDoor;
  /** `claude` without it. */
  readonly agent?: string;
  readonly order?: Partial<AgentOrder>;
  readonly policy?: JsonObject;
  readonly toolset?: Toolset;
  readonly secrets?: readonly string[];
  /** The way to hosts, made for this world's policy and record. */
  readonly egress?: (world: HostsWorld) => EgressDoor;
  readonly tools?: readonly string[];
  readonly adapter?: AgentAdapter;
  readonly sandbox?: Sandbox;
  readonly signal?: AbortSignal;
  /** One is made without it. */
  readonly folder?: string;
  readonly onProgress?: (progress: AgentProgress) => void;
}

/** How an agent's work ended, and what stands in the ledger. */
export interface Worked {
  readonly code: string;
  readonly reason: string;
  readonly entries: readonly LedgerRecord[];
  readonly told: readonly AgentProgress[];
  readonly folder: string;
  /** What the agent's step came to; null where it did not come to its commit. */
  readonly commit: string | null;
}

/** The installed program, or the command that installs it; or what the order names. */
function programOf({ agent, command }: AgentOrder, root: string): AgentProgram {
  const folder = agentsFolder(process.env);
  const known = INSTALLED.find((one) => one.name === agent);
  if (known !== undefined) return findProgram(known, folder);
  const path = process.env["PATH"] ?? "";
  return findNamed(command ?? [], { installed: INSTALLED, folder, path, root });
}

function signalOf({ signal }: WorkOptions): Pick<WorkOptions, "signal"> {
  return signal === undefined ? {} : { signal };
}

const TOOLS = ["Bash", "Read", "Write", "Edit", "Glob", "Grep"];

function orderOf({ agent = "claude", order }: WorkOptions): AgentOrder {
  return {
    agent,
    role: "trainer",
    task: "Do it",
    model: adapterOf(agent).defaultModel,
    command: null,
    verify: [],
    timeoutSeconds: 60,
    budgetMicrousd: null,
    turnsMax: null,
    ...order,
  };
}

function policyOf({ policy }: WorkOptions, order: AgentOrder): ReturnType<typeof starterPolicy> {
  if (policy === undefined) return starterPolicy(order);
  return { path: "policy.json", bytes: utf8Encode(JSON.stringify(policy)) };
}

function folderOf({ folder = mkdtempSync(join(tmpdir(), "sov-agent-")) }: WorkOptions): string {
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Has a real agent work, through a real kernel and a real sandbox, over a store in memory. */
export async function work(repository: TestRepository, options: WorkOptions): Promise<Worked> {
  const world = await World.create();
  const folder = folderOf(options);
  const order = orderOf(options);
  const { agent } = order;
  const policyFile = policyOf(options, order);
  const { planned, policy: compiled } = readOrder(order, policyFile, "2026-01-01T00:00:00Z");
  const policy = new AgentPolicy(new ReviewedPolicy(new PolicyEngine(compiled)));
  const user = await inspectRepository(repository.root);
  const head = await readHead(user);
  const limits = workLimits(compiled);
  const workspace = await Workspace.open(join(folder, "work"), user, head, policy, limits);
  const artifacts = new ArtifactStore(folder);
  const contents = planned.steps.flatMap((step) => step.operations);
  const { sandbox = createSandbox(), toolset = null, secrets = [], tools = TOOLS } = options;
  const content = (sha256: string): Uint8Array | null =>
    contents.find((one) => one.action.params["sha256"] === sha256)?.content ?? null;
  const told: AgentProgress[] = [];
  let session: RunSession | null = null;
  const calls = new ToolCalls(() => (step) => {
    if (session === null) throw new Error("no session");
    return session.perform(step);
  });
  const { adapter = adapterOf(agent) } = options;
  const effects = {
    ...createExecutorEffects({
      workspace,
      repository: user,
      base: head,
      artifacts,
      folder: join(folder, "work"),
      sandbox,
      contents: content,
      toolset,
      modules: null,
      clock: world.clock,
    }),
    "agent.tool_call": calls.effect,
    "agent.run": createAgentEffect({
      adapter,
      program: programOf(order, repository.root),
      programDigest: "0".repeat(64),
      workspace,
      sandbox,
      calls,
      model: options.model,
      tools,
      task: content,
      modules: null,
      toolset,
      artifacts,
      secrets,
      onTranscript: (ref) => told.push({ event: "agent.text", text: ref.name }),
      egress: options.egress?.({ policy, recorder: world.recorder }) ?? null,
      folder: join(folder, "work"),
      onProgress: (progress) => {
        told.push(progress);
        options.onProgress?.(progress);
      },
    }),
  };
  const built = await buildRun(world, {
    store: new MemoryStore(),
    plan: { runId: RUN },
    policy,
    effects,
    around: () => world.recorder,
    ...signalOf(options),
  });
  session = built.session;
  const tape = new RunTape(join(folder, "audit/run_tape.jsonl"), RUN, world.clock);
  const onProgress = (): undefined => undefined;
  const run = new ExecutorRun({
    session,
    planned,
    base: head,
    tape,
    onProgress,
    waits: () => true,
  });
  let end = { code: "none", reason: "" };
  try {
    await run.run();
  } catch (error) {
    if (!(error instanceof RunStopped)) throw error;
    end = { code: error.outcome.code, reason: error.outcome.reason };
  } finally {
    world.dispose();
  }
  const entries = world.recorder.records;
  return { ...end, entries, told, folder, commit: run.done.steps[0]?.commit ?? null };
}

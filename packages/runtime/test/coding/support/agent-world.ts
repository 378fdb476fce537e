import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, utf8Encode } from "@sovereign/core";
import {
  AgentPolicy,
  type AgentProgress,
  adapterOf,
  type AgentAdapter,
  createAgentEffect,
  findProgram,
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
import { EMPTY_STREAM, StreamWriter } from "../../../src/ledger/index.ts";
import { PolicyEngine } from "../../../src/policy/index.ts";
import { ArtifactStore, RunRecorder, RunSession, RunStopped } from "../../../src/runs/index.ts";
import { createSandbox, type Sandbox } from "../../../src/sandbox/index.ts";
import { agentsFolder } from "../../../src/services/agents/agents-folder.ts";
import {
  type AgentOrder,
  readOrder,
  starterPolicy,
} from "../../../src/services/agents/agent-request.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { World } from "../../support/world.ts";
import type { TestRepository } from "../../executor/support/repository.ts";

export const RUN = `run_${"a".repeat(20)}`;

export interface WorkOptions {
  readonly model: ModelDoor;
  readonly order?: Partial<AgentOrder>;
  readonly policy?: JsonObject;
  readonly adapter?: AgentAdapter;
  readonly sandbox?: Sandbox;
  readonly signal?: AbortSignal;
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

/** The installed program, or the command that installs it. */
export function installed(): ReturnType<typeof findProgram> {
  return findProgram(adapterOf("claude"), agentsFolder(process.env));
}

/** Has a real agent work, through a real kernel and a real sandbox, over a store in memory. */
export async function work(repository: TestRepository, options: WorkOptions): Promise<Worked> {
  const world = await World.create();
  const folder = mkdtempSync(join(tmpdir(), "sov-agent-"));
  mkdirSync(folder, { recursive: true });
  const order: AgentOrder = {
    agent: "claude",
    role: "trainer",
    task: "Do it",
    model: "claude-sonnet-4-5",
    verify: [],
    timeoutSeconds: 60,
    budgetMicrousd: null,
    ...options.order,
  };
  const starter = starterPolicy(order);
  const policyFile =
    options.policy === undefined
      ? starter
      : { path: "policy.json", bytes: utf8Encode(JSON.stringify(options.policy)) };
  const { planned, policy: compiled } = readOrder(order, policyFile, "2026-01-01T00:00:00Z");
  const policy = new AgentPolicy(new ReviewedPolicy(new PolicyEngine(compiled)));
  const user = await inspectRepository(repository.root);
  const head = await readHead(user);
  const limits = workLimits(compiled);
  const workspace = await Workspace.open(join(folder, "work"), user, head, policy, limits);
  const artifacts = new ArtifactStore(folder);
  const contents = planned.steps.flatMap((step) => step.operations);
  const sandbox = options.sandbox ?? createSandbox();
  const content = (sha256: string): Uint8Array | null =>
    contents.find((one) => one.action.params["sha256"] === sha256)?.content ?? null;
  const told: AgentProgress[] = [];
  let session: RunSession | null = null;
  const calls = new ToolCalls(() => (step) => {
    if (session === null) throw new Error("no session");
    return session.perform(step);
  });
  const adapter = options.adapter ?? adapterOf("claude");
  const effects = {
    ...createExecutorEffects({
      workspace,
      repository: user,
      base: head,
      artifacts,
      folder: join(folder, "work"),
      sandbox,
      contents: content,
      toolset: null,
      modules: null,
      clock: world.clock,
    }),
    "agent.tool_call": calls.effect,
    "agent.run": createAgentEffect({
      adapter,
      program: installed(),
      programDigest: "0".repeat(64),
      workspace,
      sandbox,
      calls,
      model: options.model,
      tools: ["Bash", "Read", "Write", "Edit"],
      task: content,
      modules: null,
      folder: join(folder, "work"),
      onProgress: (progress) => {
        told.push(progress);
        options.onProgress?.(progress);
      },
    }),
  };
  const store = new MemoryStore();
  const writer = new StreamWriter(store, "acme", RUN, EMPTY_STREAM);
  const about = { runId: RUN, tenantId: "acme" };
  const recorder = new RunRecorder({ ...about, writer, clock: world.clock, epoch: null });
  const authority = world.authorityFor((action, context) => policy.decide(action, context));
  session = new RunSession({
    plan: {
      ...about,
      name: "test",
      mode: "sovereign",
      installationId: `ins_${"a".repeat(20)}`,
      plan: {},
      config: {},
      policyDigest: policy.policyDigest,
    },
    store,
    recorder,
    kernel: world.kernel({ recorder: world.recorder, policy, effects }),
    authority,
    keyLog: world.keyLog,
    clock: world.clock,
    approvals: () => Promise.resolve(null),
    signal: options.signal ?? new AbortController().signal,
    steps: [],
  });
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

import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type JsonObject, type Toolset, utf8Encode } from "@sovereign/core";
import {
  createExecutorEffects,
  type ExecProgress,
  ExecutorRun,
  type Head,
  inspectRepository,
  parseExecRequest,
  readHead,
  ReviewedPolicy,
  RunTape,
  workLimits,
  Workspace,
} from "../../../src/executor/index.ts";
import type { EgressDoor } from "../../../src/agents/index.ts";
import { PolicyEngine, parsePolicy } from "../../../src/policy/index.ts";
import { ArtifactStore, RunStopped } from "../../../src/runs/index.ts";
import { createSandbox, type Sandbox } from "../../../src/sandbox/index.ts";
import type { HostsWorld } from "../../support/local-hosts.ts";
import { MemoryStore } from "../../support/memory-store.ts";
import { buildRun } from "../../support/run-builder.ts";
import { World } from "../../support/world.ts";
import type { TestRepository } from "./repository.ts";

export const RUN = `run_${"e".repeat(20)}`;

const POLICY = {
  policy_id: "test",
  schema_version: "1.0.0",
  allowed_git_operations: ["git_add", "git_commit"],
  allowlist: {
    file_operations: ["write_file", "update_file", "patch_file", "delete_file", "mkdir"],
    paths: ["**"],
    commands: [{ id: "all", executable: "sh", allowed_args: ["**"] }],
  },
  limits: { max_file_size_mb: 1, max_files: 10, timeout_seconds: 20 },
};

export type Operation = { action: string; params: JsonObject };

/** A request of one operation list a step. */
export function requestOf(steps: readonly (readonly Operation[])[], more: JsonObject = {}): string {
  return JSON.stringify({
    exec_request_id: "exec_req_tests_01",
    schema_version: "1.0.0",
    created_at: "2026-01-01T00:00:00Z",
    role: "trainer",
    ...more,
    patch_plan: {
      steps: steps.map((operations, index) => ({
        step_id: `step_${String(index + 1).padStart(2, "0")}`,
        commit_message: "words",
        operations: operations.map((one, at) => ({ op_id: `op_${at + 1}`, ...one })),
      })),
    },
  });
}

export const write = (path: string, content = "x\n"): Operation => ({
  action: "write_file",
  params: { path, content },
});
export const sh = (script: string, more: JsonObject = {}): Operation => ({
  action: "command",
  params: { argv: ["sh", "-c", script], ...more },
});

/** How an execution ended: the code and the reason of what stopped it, or that nothing did. */
export interface End {
  readonly code: string;
  readonly reason: string;
  readonly run: ExecutorRun;
  readonly tape: RunTape;
  readonly head: Head;
  readonly artifacts: ArtifactStore;
}

export interface ExecuteOptions {
  readonly policy?: JsonObject;
  readonly sandbox?: Sandbox;
  readonly toolset?: Toolset;
  /** The way to hosts, made for this world's policy and record. */
  readonly egress?: (world: HostsWorld) => EgressDoor;
  readonly folder?: string;
  readonly onProgress?: (progress: ExecProgress) => void;
}

/** Executes requests through a real kernel and a real sandbox, over a store in memory. */
export async function execute(
  repository: TestRepository,
  request: string,
  options: ExecuteOptions = {},
): Promise<End> {
  const world = await World.create();
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "sov-exec-"));
  mkdirSync(folder, { recursive: true });
  const planned = parseExecRequest(utf8Encode(request), "request.json");
  const bytes = utf8Encode(JSON.stringify({ ...POLICY, ...options.policy }));
  const compiled = parsePolicy(bytes, "policy.json");
  const policy = new ReviewedPolicy(new PolicyEngine(compiled));
  const user = await inspectRepository(repository.root);
  const head = await readHead(user);
  const workspace = await Workspace.open(
    join(folder, "work"),
    user,
    head,
    policy,
    workLimits(compiled),
  );
  const artifacts = new ArtifactStore(folder);
  const contents = planned.steps.flatMap((step) => step.operations);
  const effects = createExecutorEffects({
    workspace,
    repository: user,
    base: head,
    artifacts,
    folder: join(folder, "work"),
    sandbox: options.sandbox ?? createSandbox(),
    contents: (sha256) =>
      contents.find((one) => one.action.params["sha256"] === sha256)?.content ?? null,
    modules: null,
    toolset: options.toolset ?? null,
    egress: options.egress?.({ recorder: world.recorder, policy }) ?? null,
    clock: world.clock,
  });
  const { session } = await buildRun(world, {
    store: new MemoryStore(),
    plan: { runId: RUN },
    policy,
    effects,
    around: () => world.recorder,
  });
  const tape = new RunTape(join(folder, "audit/run_tape.jsonl"), RUN, world.clock);
  const run = new ExecutorRun({
    session,
    planned,
    base: head,
    tape,
    onProgress: options.onProgress ?? (() => undefined),
  });
  const end = { run, tape, head, artifacts };
  try {
    await run.run();
    return { code: "none", reason: "", ...end };
  } catch (error) {
    if (!(error instanceof RunStopped)) throw error;
    return { code: error.outcome.code, reason: error.outcome.reason, ...end };
  } finally {
    world.dispose();
    writeFileSync(join(folder, "ended"), "");
  }
}

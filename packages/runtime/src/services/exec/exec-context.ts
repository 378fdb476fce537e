import { basename, extname, join } from "node:path";
import {
  type ArtifactRef,
  digestOf,
  fields,
  formats,
  GATE_DOCUMENTS,
  type JsonObject,
  parseCanonicalJson,
  parseFormat,
  SovereignError,
  type Toolset,
  type WorkScope,
} from "@sovereign/core";
import { readNamed } from "@sovereign/verify";
import { z } from "zod";
import type { EgressDoor } from "../../agents/index.ts";
import { AgentPolicy } from "../../coding/index.ts";
import {
  createExecutorEffects,
  createRollbackEffect,
  type Head,
  parseExecRequest,
  type PlannedRequest,
  planSummary,
  ReviewedPolicy,
  RunTape,
  ScopedPolicy,
  type UserRepository,
  workLimits,
  Workspace,
} from "../../executor/index.ts";
import type { EffectRegistry, PolicyDecider } from "../../kernel/index.ts";
import { type CompiledPolicy, parsePolicy, PolicyEngine } from "../../policy/index.ts";
import { ArtifactStore, type FailedLog, type RunRow } from "../../runs/index.ts";
import type { Sandbox } from "../../sandbox/index.ts";
import type { Installation } from "../../installation/index.ts";
import {
  demandsOf,
  type OpenedSession,
  openRunSession,
  type SessionParts,
} from "../runs/open-session.ts";
import type { RunOptions } from "../runs/lifecycle.ts";
import { type NamedBytes, readPolicy } from "./read-policy.ts";
import {
  type Clock,
  makeOwnFolder,
  replaceOwnFile,
  requireOwnFile,
  systemEntropy,
} from "../../system/index.ts";
import type { ExecFiles } from "./exec-reports.ts";
import { makeRequest } from "./made-request.ts";

/** The plan of an execution, as it stands in the run's row. */
const execPlan = z.strictObject({
  kind: z.enum(["exec_request", "agent"]),
  exec_request_id: z.string(),
  request_digest: z.string(),
  policy_file: z.string(),
  repository: z.strictObject({
    root: z.string(),
    ref: z.string().nullable(),
    commit: fields.gitId,
    tree: fields.gitId,
  }),
  steps: z.array(z.record(z.string(), z.unknown())),
  /** What commands see besides; absent where the policy asks for nothing. */
  toolset: formats.toolset.exactOptional(),
  /** Of a run of the kind `agent`: who works, and on which branch the result waits. */
  agent: z
    .strictObject({ name: z.string(), branch: z.string(), named: z.boolean() })
    .exactOptional(),
});
export type ExecPlan = z.infer<typeof execPlan>;

/** A request with its policy, frozen in the run's folder. */
export interface FrozenExec {
  readonly planned: PlannedRequest;
  readonly policy: CompiledPolicy;
  readonly plan: ExecPlan;
  readonly request: ArtifactRef;
}

/** A request and its policy as they were handed in. */
export interface ReadRequest {
  readonly planned: PlannedRequest;
  readonly policy: CompiledPolicy;
  readonly files: { readonly request: NamedBytes; readonly policy: NamedBytes };
}

/**
 * Read both files once: what is judged is what is frozen.
 * @param home the data folder, which knows what policies the user accepted
 * @throws ERR_POLICY_MISSING, ERR_POLICY_UNTRUSTED
 */
export function readRequest(wanted: ExecFiles, clock: Clock, home: string): ReadRequest {
  const read = (path: string): NamedBytes => ({ path, bytes: readNamed(path) });
  const { request } = wanted;
  const making = { clock, entropy: systemEntropy };
  const files = {
    request:
      typeof request === "string"
        ? read(request)
        : { path: "the request", bytes: makeRequest(request, making) },
    policy: readPolicy(home, wanted.repository, wanted.policy),
  };
  return {
    planned: parseExecRequest(files.request.bytes, files.request.path),
    policy: parsePolicy(files.policy.bytes, files.policy.path),
    files,
  };
}

/** Copy request and policy into the run's folder, so that later edits of them change nothing. */
export async function freezeExec(
  folder: string,
  { planned, policy, files }: ReadRequest,
  repository: UserRepository,
  base: Head,
  toolset: Toolset | null,
  agent?: ExecPlan["agent"],
): Promise<FrozenExec> {
  const policy_file = `01_intent/policy${extname(files.policy.path)}`;
  makeOwnFolder(join(folder, "01_intent"));
  replaceOwnFile(join(folder, policy_file), files.policy.bytes);
  const store = new ArtifactStore(folder);
  const request = await store.put(GATE_DOCUMENTS.request, files.request.bytes, "application/json");
  const { ref, commit, tree } = base;
  const plan: ExecPlan = {
    kind: agent === undefined ? "exec_request" : "agent",
    exec_request_id: planned.request.exec_request_id,
    request_digest: planned.digest,
    policy_file,
    repository: { root: repository.root, ref, commit, tree },
    steps: planSummary(planned),
    ...(toolset === null ? {} : { toolset }),
    ...(agent === undefined ? {} : { agent }),
  };
  return { planned, policy, plan, request };
}

/**
 * Open what an earlier process froze.
 * @throws ERR_RUN_DIVERGED when the files are not those that the plan names
 */
export async function openFrozenExec(folder: string, row: RunRow): Promise<FrozenExec> {
  const value = parseCanonicalJson(row.plan) as JsonObject;
  if (value["kind"] !== "exec_request" && value["kind"] !== "agent") {
    const ofRun = value["of_run"];
    const text =
      typeof ofRun !== "string"
        ? `Run ${row.runId} is no execution of a request. What it is: sovereign runs show ${row.runId}`
        : `Run ${row.runId} is the rollback of ${ofRun}: try sovereign exec status ${ofRun}`;
    throw new SovereignError("ERR_REQUEST_INVALID", text);
  }
  const plan = parseFormat(execPlan, value, "plan");
  const path = join(folder, GATE_DOCUMENTS.request);
  const planned = parseExecRequest(requireOwnFile(path), basename(path));
  const policyPath = join(folder, plan.policy_file);
  const policy = parsePolicy(requireOwnFile(policyPath), policyPath, { isFrozen: true });
  if (planned.digest !== plan.request_digest || digestOf(value) !== row.planDigest) {
    const text = `The files of run ${row.runId} are not those that its plan names.`;
    throw new SovereignError("ERR_RUN_DIVERGED", text, { runId: row.runId });
  }
  const bytes = requireOwnFile(path);
  const store = new ArtifactStore(folder);
  const request = await store.put(GATE_DOCUMENTS.request, bytes, "application/json");
  return { planned, policy, plan, request };
}

/** One run while this process works on it. */
export interface ExecContext extends OpenedSession {
  readonly runId: string;
  readonly folder: string;
  readonly tape: RunTape;
}

/** What an execution gives its session: its policy still without the reviews that it needs. */
export interface ExecParts extends Omit<SessionParts, "policy" | "artifacts" | "demands"> {
  readonly policy: CompiledPolicy;
  /** What narrows it; null for nothing. */
  readonly scope?: WorkScope | null;
}

/** A session for an execution or a rollback, with its tape. */
export async function openSession(options: RunOptions, parts: ExecParts): Promise<ExecContext> {
  const { runId } = parts;
  const folder = options.installation.folder.run(runId);
  const policy = new AgentPolicy(narrowed(parts.policy, parts.scope ?? null));
  const opened = await openRunSession(options, {
    ...parts,
    policy,
    demands: demandsOf(parts.policy),
    artifacts: "",
  });
  const tape = new RunTape(join(folder, GATE_DOCUMENTS.tape), runId, options.installation.clock);
  return { ...opened, runId, folder, tape };
}

function narrowed(policy: CompiledPolicy, scope: WorkScope | null): PolicyDecider {
  return new ReviewedPolicy(new ScopedPolicy(new PolicyEngine(policy), scope));
}

/** The place where a run's steps work. */
export function openWorkspace(
  folder: string,
  repository: UserRepository,
  base: Head,
  policy: CompiledPolicy,
  scope: WorkScope | null = null,
): Promise<Workspace> {
  const decider = narrowed(policy, scope);
  return Workspace.open(join(folder, "work"), repository, base, decider, workLimits(policy));
}

/** What the actions of an execution do. */
export function executionEffects(
  installation: Installation,
  parts: {
    readonly workspace: Workspace;
    readonly repository: UserRepository;
    readonly base: Head;
    readonly planned: PlannedRequest;
    readonly folder: string;
    readonly artifacts: ArtifactStore;
    readonly sandbox: Sandbox;
    readonly toolset: Toolset | null;
    readonly egress: EgressDoor | null;
    readonly onFailedLog: (log: FailedLog) => void;
  },
): EffectRegistry {
  const contents = new Map<string, Uint8Array>();
  for (const step of parts.planned.steps) {
    for (const { action, content } of step.operations) {
      const { sha256 } = action.params;
      if (content !== null && typeof sha256 === "string") contents.set(sha256, content);
    }
  }
  return createExecutorEffects({
    ...parts,
    folder: join(parts.folder, "work"),
    contents: (sha256) => contents.get(sha256) ?? null,
    modules: join(parts.repository.root, "node_modules"),
    clock: installation.clock,
  });
}

/** What the one action of a rollback does. */
export function rollbackEffects(
  installation: Installation,
  repository: UserRepository,
  folder: string,
  artifacts: ArtifactStore,
): EffectRegistry {
  const { clock } = installation;
  const effect = createRollbackEffect({
    repository,
    artifacts,
    folder,
    clock,
  });
  return { "git.rollback": effect };
}

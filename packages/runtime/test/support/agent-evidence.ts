import {
  type Action,
  type ArtifactRef,
  canonicalBytes,
  type ComplianceBundle,
  digestOf,
  evaluateGates,
  formats,
  type GateInputs,
  gateInputDigests,
  type JsonObject,
  type JsonValue,
  parseCanonicalJson,
  parseFormat,
  type PlacedEntry,
  predicateType,
  promptOfPack,
  readGateInputs,
  sha256Hex,
  type ToolTaskPack,
  utf8Encode,
} from "@sovereign/core";
import { ModelCallDesk } from "../../src/agents/index.ts";
import { issueTaskPack } from "../../src/coding/index.ts";
import type { RunSession } from "../../src/runs/index.ts";
import { systemEntropy } from "../../src/system/index.ts";
import { EvidenceWorld, RUN } from "./evidence.ts";
import type { MemoryStore } from "./memory-store.ts";
import { HandGate, PRICED } from "./model-rig.ts";
import type { World } from "./world.ts";

const POLICY = `
policy_id: agent
schema_version: 1.0.0
operations:
  - model.train
  - model.promote
  - agent.judge
  - { type: llm.call, resources: ["**"] }
allowed_git_operations: [git_add, git_commit]
agent: { run: [claude], tools: { Write: allow } }
allowlist:
  file_operations: []
  paths: ["**"]
  commands: [{ id: look, executable: test, allowed_args: ["-f", b.txt] }]
approvals:
  - { operations: [model.promote, git.bring_back], required: 2, roles: [release_manager, safety_officer] }
`;

const id = (digit: string): string => digit.repeat(40);
const BASE = { commit: id("0"), tree: id("9") };
const STEP = { commit: id("1"), parent: BASE.commit, tree: id("2") };
const AT = "2026-01-01T00:00:00.000Z";
const REQUEST_ID = "exec_req_agent_01";
const CONTENT = "new\n";

/** The names of the documents that the run records. */
export const NAMES = {
  request: "02_dryrun/exec_request.json",
  tape: "audit/run_tape.jsonl",
  result: "execution_result.json",
  proof: "03_executor/sandbox_proof.json",
  checksums: "audit/checksums.json",
  patch: "patches/step_01.patch",
  log: "03_executor/logs/step_01.verify_1.log",
  task: "01_intent/tool_task_pack.json",
  pack: "04_verification/tool_result_pack.json",
} as const;

/** What a test makes of the run before gates judge it. */
export interface AgentLies {
  /** Of the task, before it is signed. */
  readonly task?: (pack: ToolTaskPack) => ToolTaskPack;
  /** Of the documents, after they were computed. */
  readonly documents?: (contents: Map<string, Uint8Array>) => void;
  /** Of the receipt: what gates found, and what is signed. */
  readonly receipt?: (found: ReturnType<typeof evaluateGates>) => ReturnType<typeof evaluateGates>;
}

/** A run in which an agent made one file, with its packs, on real keys and a real kernel. */
export function agentWorld(lies: AgentLies = {}): Promise<AgentEvidence> {
  return AgentEvidence.make(lies);
}

export class AgentEvidence {
  readonly made: EvidenceWorld;
  /** The bytes of each document that the run names. */
  readonly contents: ReadonlyMap<string, Uint8Array>;
  readonly entries: readonly PlacedEntry[];

  private constructor(
    made: EvidenceWorld,
    contents: ReadonlyMap<string, Uint8Array>,
    entries: readonly PlacedEntry[],
  ) {
    this.made = made;
    this.contents = contents;
    this.entries = entries;
  }

  static async make(lies: AgentLies): Promise<AgentEvidence> {
    const contents = new Map<string, Uint8Array>();
    let entries: PlacedEntry[] = [];
    const made = await EvidenceWorld.create(
      "sovereign",
      RUN,
      0,
      async (session, world, store) => {
        entries = await runAgent(session, world, store, contents, lies);
      },
      { policy: POLICY },
    );
    return new AgentEvidence(made, contents, entries);
  }

  /** What gates judge: of the run as it was recorded. */
  inputs(): GateInputs {
    return readGateInputs(this.contents, this.entries);
  }

  /** The bundle, with the bytes of every document. */
  async bundle(): Promise<ComplianceBundle> {
    const bundle = await this.made.bundle();
    for (const one of bundle.artifacts) {
      const bytes = this.contents.get(one.name);
      if (bytes !== undefined) one.content = Buffer.from(bytes).toString("base64");
    }
    this.made.remake(bundle);
    return bundle;
  }

  dispose(): void {
    this.made.dispose();
  }
}

async function runAgent(
  session: RunSession,
  world: World,
  store: MemoryStore,
  contents: Map<string, Uint8Array>,
  { task: change = (pack) => pack, documents, receipt: say = (found) => found }: AgentLies,
): Promise<PlacedEntry[]> {
  const { authority, policy } = world;
  const issued = issueTaskPack(
    {
      agent: "claude",
      version: "2.1.329",
      model: PRICED,
      task: "Make b.txt",
      verify: ["test -f b.txt"],
      timeoutSeconds: 600,
      budgetMicrousd: 1_000_000,
      turnsMax: null,
      scope: ["*.txt"],
      forbid: ["secret.txt"],
      review: true,
    },
    { branch: "refs/heads/main", ...BASE, policyDigest: policy.policyDigest, at: AT },
  );
  const task = change(issued.pack);
  const bytes = canonicalBytes(task);
  const sha256 = sha256Hex(bytes);
  contents.set(NAMES.task, bytes);
  await signTask(session, world, task, sha256);
  await work(session, world, contents, task, sha256);
  writeDocuments(contents, session, policy.policyDigest);
  const before = await entriesOf(store);
  const found = readGateInputs(contents, before).tool?.found;
  if (found === undefined || found === null) throw new Error("no result pack can be computed");
  contents.set(NAMES.pack, canonicalBytes(found));
  documents?.(contents);
  const recorded = [NAMES.request, NAMES.tape, NAMES.result, NAMES.proof, NAMES.checksums];
  await session.recordEvidence(
    [...recorded, NAMES.task, NAMES.pack].map((n) => refOf(n, contents)),
  );
  const pack = sha256Hex(contents.get(NAMES.pack) ?? new Uint8Array());
  const about = { run_id: RUN, tool_result_pack_id: found.tool_result_pack_id, sha256: pack };
  const subject = [{ name: found.tool_result_pack_id, sha256: pack }];
  const signed = await authority.issue("tool-result", subject, about, "attestation", null);
  await session.attest(predicateType("tool-result"), () =>
    Promise.resolve({ result_pack: signed }),
  );
  const entries = await entriesOf(store);
  const judged = say(evaluateGates(readGateInputs(contents, entries)));
  const evaluated_at = world.clock.now().toISOString();
  const inputs = gateInputDigests(contents, true);
  const receipt = { run_id: RUN, ...judged, inputs, evaluated_at };
  const results = [{ name: RUN, sha256: digestOf(judged.results) }];
  const kind = "gate-receipt";
  const attested = await authority.issue(kind, results, receipt, "attestation", null);
  await session.attest(predicateType(kind), () => Promise.resolve({ receipt: attested }), {
    status: judged.status,
  });
  return entries;
}

async function signTask(
  session: RunSession,
  { authority, policy }: World,
  { tool_task_pack_id }: ToolTaskPack,
  sha256: string,
): Promise<void> {
  const statement = {
    run_id: RUN,
    role: "trainer",
    tool_task_pack_id,
    sha256,
    base_commit: BASE.commit,
    policy_digest: policy.policyDigest,
  };
  const subject = [{ name: tool_task_pack_id, sha256 }];
  const signed = await authority.issue("tool-task", subject, statement, "role", "trainer");
  await session.attest(predicateType("tool-task"), () => Promise.resolve({ task_pack: signed }));
}

/** The agent works, is denied once, and its result is looked at, committed and brought back. */
async function work(
  session: RunSession,
  world: World,
  contents: Map<string, Uint8Array>,
  task: ToolTaskPack,
  sha256: string,
): Promise<void> {
  const perform = (stepId: string, action: Action): Promise<unknown> =>
    session.perform({ stepId, role: "trainer", action });
  const words = utf8Encode(promptOfPack(task));
  await callModel(session, world);
  world.result = completed([], {
    sandbox_level: "G3",
    sandbox_backend: "bubblewrap",
    agent: "claude",
    version: "2.1.329",
    program_sha256: "7".repeat(64),
    calls_allowed: 1,
    calls_denied: 1,
    claims: {
      ...{ text: "I made b.txt.", turns: 3, input_tokens: 50, output_tokens: 11 },
      ...{ version: "2.1.330", calls_denied: 1, cost_usd: 0.01 },
    },
    tree: STEP.tree,
    files_changed: 1,
  });
  const asked: JsonObject = {
    sha256: sha256Hex(words),
    bytes: words.length,
    model: PRICED,
    timeout_seconds: 600,
    budget_microusd: 1_000_000,
    task_pack: sha256,
    scope: task.work_scope,
    before: BASE.tree,
  };
  await perform("step_01.agent", { type: "agent.run", resource: "claude", params: asked });
  const call = { type: "agent.tool_call", resource: "Bash", params: {} };
  await perform("call.1.1", call).catch(() => undefined);
  contents.set(NAMES.log, utf8Encode("looked\n"));
  const look = { argv: ["-f", "b.txt"], cwd: "", kind: "verify", before: STEP.tree };
  const seen = { sandbox_level: "G3", sandbox_backend: "bubblewrap", exit_code: 0 };
  world.result = completed([refOf(NAMES.log, contents)], {
    ...seen,
    tree: STEP.tree,
    files_changed: 0,
  });
  await perform("step_01.verify_1", { type: "command.run", resource: "test", params: look });
  contents.set(NAMES.patch, utf8Encode(PATCH));
  const patch_sha256 = sha256Hex(utf8Encode(PATCH));
  world.result = completed([refOf(NAMES.patch, contents)], { ...STEP, patch_sha256 });
  const message = `Make b.txt\n\nSovereign-Request: ${REQUEST_ID}\n`;
  const commit = { tree: STEP.tree, parent: BASE.commit, message, at: 1 };
  await perform("step_01.commit", { type: "git.commit", resource: "step_01", params: commit });
  const { commit: made, tree } = STEP;
  const output = { base: BASE.commit, head: made, tree, commits: [made] };
  const status = { status_before: "6".repeat(64), status_after: "6".repeat(64) };
  world.result = completed([], { ...output, ...status });
  const brought = { step_id: "step_01", sha256: patch_sha256, bytes: 1, commit: made, tree };
  const back = { request_digest: digestOf(REQUEST), review: true, base: BASE.commit };
  const params = { ...back, patches: [brought] };
  await perform("bring_back", { type: "git.bring_back", resource: "refs/heads/main", params });
}

/** One call of a model, as the proxy's desk records it. */
async function callModel(session: RunSession, world: World): Promise<void> {
  const { policy } = world;
  const desk = await ModelCallDesk.open(
    {
      context: { ...world.context(), config_digest: session.configDigest },
      budget: { microusd: 1_000_000, tokens: null },
      policy,
      scram: new HandGate(),
      clock: world.clock,
      entropy: systemEntropy,
      pricing: () => ({ provider: "anthropic", own: null }),
      record: (event, severity, data) => session.note(event, severity, data),
    },
    null,
  );
  const call = await desk.reserve({
    wire: "anthropic_messages",
    vendor: "scripted",
    model: PRICED,
    request: { sha256: "0".repeat(64), bytes: 100 },
    inputTokens: 100,
    cachesForAnHour: false,
    outputTokensMax: 100,
  });
  if (!call.allowed) throw new Error("the call is refused");
  const counted = { cache_read: 0, cache_write: 0, cache_write_1h: 0, reasoning: 0 };
  const usage = { ...counted, input: 50, output: 10 };
  await desk.settle(call.call, { ended: "completed", status: 200, answer: null, usage });
}

const REQUEST: JsonObject = {
  exec_request_id: REQUEST_ID,
  schema_version: "1.0.0",
  created_at: "2026-01-01T00:00:00Z",
  requires_review: true,
  role: "trainer",
  patch_plan: {
    steps: [{ step_id: "step_01", operations: [{ op_id: "agent", action: "agent", params: {} }] }],
  },
};

const PATCH = `From ${STEP.commit} Mon Sep 17 00:00:00 2001
From: Sovereign Executor <executor@sovereign.invalid>
Subject: [PATCH] Make b.txt

Sovereign-Request: ${REQUEST_ID} ${digestOf(REQUEST)}
Sovereign-Step: step_01
---
diff --git a/b.txt b/b.txt
new file mode 100644
index ${id("0")}..${id("5")}
--- /dev/null
+++ b/b.txt
@@ -0,0 +1 @@
+new
`;

function writeDocuments(
  contents: Map<string, Uint8Array>,
  { plan }: RunSession,
  policyDigest: string,
): void {
  const put = (name: string, value: JsonValue): void => {
    contents.set(name, canonicalBytes(value));
  };
  const patch_sha256 = sha256Hex(utf8Encode(PATCH));
  const step = { step_id: "step_01", ...STEP, patch_sha256, files_changed: 1, operations: 2 };
  put(NAMES.request, REQUEST);
  contents.set(NAMES.tape, tape(patch_sha256));
  put(NAMES.result, {
    schema_version: "1.0.0",
    exec_request_id: REQUEST_ID,
    run_id: plan.runId,
    mode: "sovereign",
    status: "success",
    code: null,
    reason: null,
    request_digest: digestOf(REQUEST),
    policy_digest: policyDigest,
    base_commit: BASE.commit,
    base_tree: BASE.tree,
    head_commit: STEP.commit,
    head_tree: STEP.tree,
    steps_planned: 1,
    steps: [step],
    started_at: AT,
    ended_at: AT,
  });
  put(NAMES.proof, proof(patch_sha256));
  const after = sha256Hex(utf8Encode(CONTENT));
  const files = [{ path: "b.txt", status: "added", before: null, after }];
  const evidence = [NAMES.request, NAMES.tape, NAMES.result, NAMES.proof].map((name) => {
    const ref = refOf(name, contents);
    return { name, sha256: ref.sha256, bytes: ref.bytes };
  });
  const steps = [{ step_id: "step_01", files, links: [] }];
  const about = { schema_version: "1.0.0", run_id: RUN, base_commit: BASE.commit };
  put(NAMES.checksums, { ...about, steps, evidence });
}

function tape(patch: string): Uint8Array {
  const done = (type: string): JsonObject => ({ op_id: opOf(type), type, resource: "x" });
  const opOf = (type: string): string => (type === "agent.run" ? "agent" : "verify_1");
  const lines: [string, string | null, JsonObject][] = [
    ["run_start", null, {}],
    ["worktree_created", null, {}],
    ["step_start", "step_01", {}],
    ["operation_start", "step_01", done("agent.run")],
    ["operation_end", "step_01", done("agent.run")],
    ["operation_start", "step_01", done("command.run")],
    ["operation_end", "step_01", done("command.run")],
    ["step_end", "step_01", { commit: STEP.commit, checksums: { [NAMES.patch]: patch } }],
    ["run_end", null, {}],
  ];
  const text = lines.map(([event, step_id, details], seq) =>
    Buffer.from(canonicalBytes({ seq, timestamp: AT, run_id: RUN, event, step_id, details })),
  );
  return utf8Encode(`${text.map((one) => one.toString("utf8")).join("\n")}\n`);
}

function proof(patch: string): JsonObject {
  const { commit, tree } = STEP;
  return {
    schema_version: "1.0.0",
    run_id: RUN,
    is_worktree: true,
    worktree_path: "/x",
    sandbox_level: "G3",
    sandbox_backend: "bubblewrap",
    limits: null,
    toolset: null,
    base_commit: BASE.commit,
    worktree_head_sha: commit,
    main_repo_head_before: BASE.commit,
    main_repo_head_sha: commit,
    main_repo_modified: false,
    main_repo_status_before: "6".repeat(64),
    main_repo_status_after: "6".repeat(64),
    patch_count: 1,
    patch_files: [NAMES.patch],
    patch_sha256: { [NAMES.patch]: patch },
    worktree_commits: [commit],
    commits_brought_back: [commit],
    main_repo_commits_after_am: [commit],
    expected_tree: tree,
    resulting_tree: tree,
    brought_back_at: AT,
  };
}

function refOf(name: string, contents: ReadonlyMap<string, Uint8Array>): ArtifactRef {
  const bytes = contents.get(name) ?? new Uint8Array();
  return { name, sha256: sha256Hex(bytes), bytes: bytes.length, media_type: "application/json" };
}

async function entriesOf(store: MemoryStore): Promise<PlacedEntry[]> {
  const entries: PlacedEntry[] = [];
  for await (const { index, hash, bytes } of store.readStream("acme", RUN)) {
    const entry = parseFormat(formats.ledgerEntry, parseCanonicalJson(bytes), "entry");
    entries.push({ index, hash, entry });
  }
  return entries;
}

function completed(artifacts: readonly ArtifactRef[], output: JsonObject): World["result"] {
  return { status: "completed", output, artifacts, usage: { wall_ms: 1500, output_bytes: 3 } };
}

import {
  canonicalBytes,
  digestOf,
  type GateInputs,
  type JsonValue,
  type LedgerAction,
  readGateInputs,
  type TapeEvent,
  utf8Encode,
} from "@sovereign/core";

const RUN = `run_${"a".repeat(20)}`;
const OTHER = `run_${"b".repeat(20)}`;
const AT = "2026-01-01T00:00:00.000Z";
export const id = (digit: string): string => digit.repeat(40);
export const sha = (digit: string): string => digit.repeat(64);

const REQUEST = {
  exec_request_id: "exec_req_tests_01",
  schema_version: "1.0.0",
  created_at: "2026-01-01T00:00:00Z",
  patch_plan: {
    steps: [{ step_id: "step_01", operations: [{ op_id: "op_1", action: "mkdir", params: {} }] }],
  },
};
const QUESTIONS = {
  question_pack_id: "qpack_one",
  questions: [
    { question_id: "q_one", type: "blocker", blocking_level: "blocking", question: "Why?" },
    {
      question_id: "q_two",
      type: "clarification",
      blocking_level: "non_blocking",
      question: "How?",
    },
  ],
  policy_constraints: { execution_mode: "interactive", question_budget: 2 },
};
export const ANSWERS = {
  answer_pack_id: "apack_one",
  question_pack_id: "qpack_one",
  answers: ["q_one", "q_two"].map((question_id) => ({
    question_id,
    answer: "So.",
    evidence_refs: ["docs/a.md"],
  })),
  answered_by: "operator",
  answered_at: AT,
};
export const PATCH = `From ${id("1")} Mon Sep 17 00:00:00 2001
From: Sovereign Executor <executor@sovereign.invalid>
Subject: step_01: 1 operation

Sovereign-Request: exec_req_tests_01 ${digestOf(REQUEST)}
Sovereign-Step: step_01
---
diff --git a/x b/x
`;

function line(
  seq: number,
  event: TapeEvent["event"],
  step: string | null,
  details = {},
): TapeEvent {
  return { seq, timestamp: AT, run_id: RUN, event, step_id: step, details };
}

function action(stepId: string, type: string, params: object, output: object): LedgerAction {
  return {
    stepId,
    type,
    resource: "x",
    params: params as LedgerAction["params"],
    effect: "allow",
    rules: [],
    dialect: 4,
    approvals: 0,
    approvalsRequired: 0,
    output: output as JsonValue,
    completed: true,
  };
}

/** A run of one step that succeeded, as the executor writes it. */
export function good(): Writable<GateInputs> {
  const step = {
    step_id: "step_01",
    commit: id("1"),
    parent: id("0"),
    tree: id("2"),
    patch_sha256: sha("3"),
    files_changed: 1,
    operations: 1,
  };
  const about = { op_id: "op_1", type: "file.write", resource: "x" };
  const { commit, tree } = step;
  const inputs = readGateInputs(
    new Map<string, Uint8Array>([
      ["02_dryrun/exec_request.json", canonicalBytes(REQUEST)],
      ["patches/step_01.patch", utf8Encode(PATCH)],
    ]),
    [],
  );
  return {
    ...inputs,
    intent: { schema_version: "1.0.0", run_id: RUN, status: "READY", open_questions: [] },
    tape: [
      line(0, "run_start", null),
      line(1, "worktree_created", null),
      line(2, "step_start", "step_01"),
      line(3, "operation_start", "step_01", about),
      line(4, "operation_end", "step_01", about),
      line(5, "step_end", "step_01", { checksums: { "patches/step_01.patch": sha("3") } }),
      line(6, "run_end", null),
    ],
    checksums: {
      schema_version: "1.0.0",
      run_id: RUN,
      base_commit: id("0"),
      steps: [],
      evidence: [{ name: "execution_result.json", sha256: sha("4"), bytes: 1 }],
    },
    result: {
      schema_version: "1.0.0",
      exec_request_id: "exec_req_tests_01",
      run_id: RUN,
      mode: "sovereign",
      status: "success",
      code: null,
      reason: null,
      request_digest: digestOf(REQUEST),
      policy_digest: sha("5"),
      base_commit: id("0"),
      base_tree: id("9"),
      head_commit: commit,
      head_tree: tree,
      steps_planned: 1,
      steps: [step],
      started_at: AT,
      ended_at: AT,
    },
    sandboxProof: {
      toolset: null,
      schema_version: "1.0.0",
      run_id: RUN,
      is_worktree: true,
      worktree_path: "/x",
      sandbox_level: "G3",
      sandbox_backend: "bubblewrap",
      limits: null,
      base_commit: id("0"),
      worktree_head_sha: commit,
      main_repo_head_before: id("0"),
      main_repo_head_sha: commit,
      main_repo_modified: false,
      main_repo_status_before: sha("6"),
      main_repo_status_after: sha("6"),
      patch_count: 1,
      patch_files: ["patches/step_01.patch"],
      patch_sha256: { "patches/step_01.patch": sha("3") },
      worktree_commits: [commit],
      commits_brought_back: [commit],
      main_repo_commits_after_am: [commit],
      expected_tree: tree,
      resulting_tree: tree,
      brought_back_at: AT,
    },
    artifacts: new Map([
      ["patches/step_01.patch", sha("3")],
      ["execution_result.json", sha("4")],
    ]),
    actions: [
      action("step_01.op_1", "file.write", {}, { tree }),
      action("step_01.commit", "git.commit", {}, { commit, tree, patch_sha256: sha("3") }),
      action(
        "bring_back",
        "git.bring_back",
        { patches: [{ step_id: "step_01", sha256: sha("3"), commit, tree }] },
        { head: commit, tree, commits: [commit] },
      ),
    ],
  };
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
export type Edit = (inputs: Writable<GateInputs>) => void;

export const asked = (status: "BLOCKED" | "READY" | "RESUMED", answers: object | null): Edit => {
  return (inputs) => {
    const read = readGateInputs(
      new Map([
        ["01_intent/question_pack.json", canonicalBytes(QUESTIONS)],
        ...(answers === null
          ? []
          : [["01_intent/answer_pack.json", canonicalBytes(answers as JsonValue)] as const]),
      ]),
      [],
    );
    inputs.questions = read.questions;
    inputs.answers = read.answers;
    inputs.intent = { schema_version: "1.0.0", run_id: RUN, status, open_questions: [] };
    if (status === "RESUMED")
      inputs.tape = [...(inputs.tape ?? []), line(7, "resume_applied", null)];
  };
};
export const nothingRan: Edit = (inputs) => {
  inputs.actions = [];
  inputs.patches = new Map();
  inputs.sandboxProof = null;
};
export const both =
  (...edits: Edit[]): Edit =>
  (inputs) => {
    for (const edit of edits) edit(inputs);
  };
export const denied: Edit = (inputs) => {
  inputs.result = { ...inputs.result!, status: "denied", head_commit: id("0"), steps: [] };
  inputs.actions = inputs.actions.slice(0, 1);
  inputs.refusals = [
    { event: "execution.denied", stepId: "step_01.op_2", code: "ERR_POLICY_DENIED" },
  ];
  inputs.tape = [...inputs.tape!, line(8, "operation_refused", "step_01", {})];
};
export const rolledBack = (more: object): Edit => {
  return (inputs) => {
    inputs.rollbackProof = {
      schema_version: "1.0.0",
      run_id: RUN,
      of_run: OTHER,
      before_head: id("1"),
      after_head: id("0"),
      base_commit: id("0"),
      tree: id("9"),
      files_changed_count: 2,
      checksums_verified: 2,
      checksums_match: true,
      success: true,
      status_before: sha("6"),
      status_after: sha("6"),
      details: [{ path: "src/a.ts", sha256: sha("1") }],
      every_file: null,
      proved_at: AT,
      ...more,
    };
  };
};
export const everyFile = (more: object): Edit =>
  rolledBack({
    every_file: {
      total: 4,
      as_base: 2,
      converted: 1,
      kept: [{ path: "mine", mode: "100644", sha256: sha("2") }],
      kept_unchanged: true,
      sha256: sha("3"),
      ...more,
    },
  });
export const proof =
  (more: object): Edit =>
  (inputs) => {
    inputs.sandboxProof = { ...inputs.sandboxProof!, ...more };
  };
export const result =
  (more: object): Edit =>
  (inputs) => {
    inputs.result = { ...inputs.result!, ...more };
  };
export const reviewed =
  (effect: "allow" | "step_up", approvals: number): Edit =>
  (inputs) => {
    inputs.request = { ...inputs.request!, requires_review: true };
    inputs.actions = inputs.actions.map((one) =>
      one.type === "git.bring_back" ? { ...one, effect, approvals, approvalsRequired: 1 } : one,
    );
  };
/** @param refusal the event and code of its refusal; null where it was authorised */
export const unknown = (
  refusal: readonly [string, string] | null,
  type = "unknown.launch",
): Edit => {
  return (inputs) => {
    const about = { op_id: "op_2", type };
    inputs.tape = [...inputs.tape!, line(9, "operation_start", "step_01", about)];
    if (refusal === null) {
      inputs.actions = [...inputs.actions, action("step_01.op_2", type, {}, {})];
      return;
    }
    const [event, code] = refusal;
    inputs.refusals = [{ event, stepId: "step_01.op_2", code }];
  };
};
export const source =
  (path: string): Edit =>
  (inputs) => {
    inputs.sources = [{ path, imports: ["node:fs", "node:child_process"] }];
  };
/** A step that changed this file, and what its commit's decision says of it. */
export const changed =
  (path: string, named: readonly string[] = [], rules: readonly string[] = []): Edit =>
  (inputs) => {
    const files = [{ path, status: "modified" as const, before: sha("1"), after: sha("2") }];
    inputs.checksums = { ...inputs.checksums!, steps: [{ step_id: "step_01", files }] };
    inputs.actions = inputs.actions.map((one) =>
      one.type === "git.commit" ? { ...one, params: { ci_files: [...named] }, rules } : one,
    );
  };

/** The evidence names these links of the step's tree. */
export const linked =
  (...links: readonly (readonly [string, string])[]): Edit =>
  (inputs) => {
    const { steps, ...rest } = inputs.checksums!;
    const named = links.map(([path, target]) => ({ path, target }));
    inputs.checksums = { ...rest, steps: steps.map((one) => ({ ...one, links: named })) };
  };

export const none: Edit = () => undefined;

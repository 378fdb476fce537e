import { type JsonObject, utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { parseExecRequest, requireRunnable } from "../../src/executor/index.ts";

const step = (operations: readonly object[], step_id = "step_01"): object => ({
  step_id,
  operations,
});
const operation = (action: string, params: object = {}, op_id = "op"): object => ({
  op_id,
  action,
  params,
});

function read(
  more: object,
  steps: readonly object[] = [step([operation("mkdir", { path: "a" })])],
): ReturnType<typeof parseExecRequest> {
  const value = {
    exec_request_id: "exec_req_tests_01",
    schema_version: "1.0.0",
    created_at: "2026-01-26T19:30:00Z",
    patch_plan: { steps },
    ...more,
  };
  return parseExecRequest(utf8Encode(JSON.stringify(value)), "request.json");
}

describe("a request", () => {
  it.each([
    ["write_file", "file.write", { path: "a", content: "x" }],
    ["file_write", "file.write", { path: "a", content: "eA==", encoding: "base64" }],
    ["file.write", "file.write", { path: "a", content: "x", executable: true }],
    ["update_file", "file.update", { path: "a", content: "x" }],
    ["file_update", "file.update", { path: "a", content: "x" }],
    ["patch_file", "file.patch", { path: "a", patch: "x" }],
    ["file_patch", "file.patch", { path: "a", patch: "x" }],
    ["delete_file", "file.delete", { path: "a" }],
    ["mkdir", "file.mkdir", { path: "a" }],
    ["lint", "command.run", { argv: ["eslint", "."] }],
    ["test", "command.run", { argv: ["npm", "test"] }],
    ["build", "command.run", { argv: ["make"] }],
    ["command", "command.run", { argv: ["ls"], cwd: "src", timeout_seconds: 5 }],
    ["launch_rocket", "unknown.launch_rocket", { any: 1 }],
    ["git.bring_back", "unknown.git_bring_back", {}],
    ["model.train", "unknown.model_train", {}],
  ])("may say %s, which is %s", (word, type, params) => {
    const [one] = read({}, [step([operation(word, params)])]).steps[0]!.operations;
    expect(one?.action.type).toBe(type);
    if (one?.content !== null) expect(one?.action.params).toHaveProperty("sha256");
  });

  it("keeps contents out of its actions, and takes git words for the commit that each step is", () => {
    const { steps } = read({}, [
      step([
        operation("write_file", { path: "a", content: "secret" }, "one"),
        operation("git_add", {}, "two"),
        operation("git_commit", { message: "words" }, "three"),
      ]),
    ]);
    expect(steps[0]?.operations.map((one) => one.opId)).toEqual(["one"]);
    expect(steps[0]?.note).toBe("words");
    expect(JSON.stringify(steps[0]?.operations[0]?.action)).not.toContain("secret");
  });

  it.each<[string, object, (readonly object[])?]>([
    ["has another id", { exec_request_id: "req_1" }],
    ["has a field that nobody knows", { surprise: 1 }],
    ["has a time that is none", { created_at: "yesterday" }],
    ["has a time that is in no calendar", { created_at: "2026-02-31T00:00:00Z" }],
    ["has a time that git cannot write", { created_at: "1969-12-31T23:59:59Z" }],
    ["has no step", {}, []],
    ["numbers its steps otherwise", {}, [step([operation("mkdir", { path: "a" })], "step_02")]],
    [
      "has an operation with the name of its step's commit",
      {},
      [step([operation("mkdir", { path: "a" }, "commit")])],
    ],
    [
      "has an operation twice",
      {},
      [step([operation("mkdir", { path: "a" }), operation("mkdir", { path: "b" })])],
    ],
    ["gives a shell's line for a command", {}, [step([operation("test", { argv: "npm test" })])]],
    ["gives no content", {}, [step([operation("write_file", { path: "a" })])]],
    [
      "gives what is no base64",
      {},
      [step([operation("write_file", { path: "a", content: "%", encoding: "base64" })])],
    ],
    ["asks in full_auto", { question_pack: pack("full_auto", 9) }],
    ["asks more than its budget", { question_pack: pack("interactive", 0) }],
  ])("that %s is refused", (_, more, steps) => {
    expect(() => read(more, steps)).toThrow(
      expect.objectContaining({ code: "ERR_REQUEST_INVALID" }) as Error,
    );
  });

  it("that is no JSON, or has a key twice, is refused", () => {
    for (const text of ["{", '{"a":1,"a":2}']) {
      expect(() => parseExecRequest(utf8Encode(text), "request.json")).toThrow(
        expect.objectContaining({ code: "ERR_REQUEST_INVALID" }) as Error,
      );
    }
  });

  it.each([[{ mode_id: "planning" }], [{ execution_mode: "dry_run_only" }]])(
    "with %j changes nothing",
    (more) => {
      expect(() => {
        requireRunnable(read(more));
      }).toThrow(expect.objectContaining({ code: "ERR_REQUEST_MODE" }) as Error);
    },
  );

  it("is held to its own list of operations, in either vocabulary", () => {
    const writes = [step([operation("write_file", { path: "a", content: "x" })])];
    requireRunnable(read({ allowed_operations: ["file_write"] }, writes));
    expect(() => {
      requireRunnable(read({ allowed_operations: ["lint"] }, writes));
    }).toThrow(expect.objectContaining({ code: "ERR_OPERATION_REFUSED" }) as Error);
  });
});

function pack(execution_mode: string, question_budget: number): JsonObject {
  return {
    question_pack_id: "qpack_one",
    questions: [
      { question_id: "q_one", type: "blocker", blocking_level: "blocking", question: "Why?" },
    ],
    policy_constraints: { execution_mode, question_budget },
  };
}

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { AgentEvent, HookCall } from "../../src/coding/adapter.ts";
import { adapterOf } from "../../src/coding/index.ts";

const codex = adapterOf("codex");

const before = (tool: string, input: object): string =>
  JSON.stringify({
    hook_event_name: "PreToolUse",
    tool_name: tool,
    tool_use_id: "call_1",
    tool_input: input,
  });

function callOf(tool: string, command: string): HookCall {
  const call = codex.hook(before(tool, { command }));
  if (call === null) throw new Error("no call");
  return call;
}

function item(type: "item.started" | "item.completed", about: object): AgentEvent[] {
  return codex.parse(JSON.stringify({ type, item: { id: "item_0", ...about } }));
}

/** What the real one printed, and what its hooks were told in the same run. */
const recorded = (name: string): string[] =>
  readFileSync(new URL(`recorded/codex-0.171.0${name}.jsonl`, import.meta.url), "utf8")
    .split("\n")
    .filter(Boolean);

const patch = (...lines: string[]): string =>
  ["*** Begin Patch", ...lines, "*** End Patch"].join("\n");

describe("a tool call of Codex", () => {
  test.each<[string, string, readonly (readonly [string, string])[]]>([
    ["a new file", patch("*** Add File: a.txt", "+a"), [["file.write", "a.txt"]]],
    [
      "a change",
      patch("*** Update File: src/a.ts", "@@", "-a", "+b"),
      [["file.update", "src/a.ts"]],
    ],
    ["a file less", patch("*** Delete File: a"), [["file.delete", "a"]]],
    [
      "a change and a new file",
      patch("*** Update File: a", "@@", "-a", "+b", "*** Add File: b", "+b"),
      [
        ["agent.tool_call", "Write"],
        ["file.update", "a"],
        ["file.write", "b"],
      ],
    ],
    [
      "a move",
      patch("*** Update File: a", "*** Move to: .git/hooks/pre-commit", "@@", "-a", "+b"),
      [
        ["agent.tool_call", "Write"],
        ["file.delete", "a"],
        ["file.write", ".git/hooks/pre-commit"],
      ],
    ],
    [
      "headers with spaces before and behind",
      patch("*** Add File: a", "+a", "  *** Update File: b  ", "@@", "-a", "+b"),
      [
        ["agent.tool_call", "Write"],
        ["file.write", "a"],
        ["file.update", "b"],
      ],
    ],
    ["a path that leads out", patch("*** Add File: ../../etc/x", "+x"), [["file.write", "/etc/x"]]],
  ])("a patch with %s is asked about file by file", (_name, text, expected) => {
    const call = callOf("apply_patch", text);
    const asks = codex.asks(call)?.map(({ type, resource }) => [type, resource]);
    expect(asks).toEqual(expected);
    const isNew = expected.length === 1 && expected[0]?.[0] === "file.write";
    expect(call.tool).toBe(isNew ? "Write" : "Edit");
  });

  test.each([
    ["nothing", ""],
    ["no file", patch("@@", "+a")],
    ["a move of nothing", patch("*** Move to: a")],
    ["a move of a new file", patch("*** Add File: a", "*** Move to: b")],
    ["two moves", patch("*** Update File: a", "*** Move to: b", "*** Move to: c")],
    ["a file without a name", patch("*** Add File: ", "+a")],
  ])("a patch with %s cannot be judged", (_name, text) => {
    expect(codex.asks(callOf("apply_patch", text))).toBeNull();
  });

  test.each([
    ["npm test", "npm", ["test"]],
    ["npm test; rm x", "bash", ["-c", "npm test; rm x"]],
  ])("the command %j runs %s", (command, resource, argv) => {
    expect(codex.asks(callOf("Bash", command))).toEqual([
      { type: "command.run", resource, params: { argv } },
    ]);
  });

  test.each([
    "apply_patch <<'EOF'\n*** Begin Patch\n*** Add File: a\n+a\n*** End Patch\nEOF\n",
    "cd src && apply_patch <<EOF",
    " applypatch",
  ])("the command %j, which Codex applies itself, is not allowed", (command) => {
    expect(codex.asks(callOf("Bash", command))).toBeNull();
  });

  test("that is allowed is told nothing, because an answer would be taken for a failure", () => {
    const call = callOf("Bash", "ls");
    const { id, mark, tool } = call;
    const given = { id, mark, tool, reason: "because" };
    expect(codex.answer(call, { ...given, allowed: true })).toBe("{}");
    expect(codex.answer(call, { ...given, allowed: false })).toContain('"deny"');
  });
});

describe("a recorded run of Codex", () => {
  const events = recorded("").flatMap((line) => codex.parse(line));
  const calls = recorded(".hooks").flatMap((body) => codex.hook(body) ?? []);
  const answers = calls
    .filter(({ phase }) => phase === "before")
    .map((call) => ({ ...call, allowed: call.tool !== "Write", reason: "because" }));
  const ended = calls.filter(({ phase }) => phase === "after").map(({ mark }) => mark);
  const end = { exitCode: 0, events, answers, ended };

  test("is read into the common vocabulary", () => {
    const told = events.filter((one) => one.kind !== "other");
    expect(told.map((one) => one.kind)).toEqual([
      ...["started", "text", "tool_begun", "tool_result", "tool_begun", "tool_result"],
      ...["text", "result"],
    ]);
    expect(answers.map(({ tool }) => tool)).toEqual(["Bash", "Write", "Edit", "Edit"]);
    expect(told.at(-1)).toMatchObject({ ok: true, inputTokens: 500, outputTokens: 100 });
  });

  test("is a success, though a call was denied and one failed on the way", () => {
    expect(codex.classify(end)).toEqual({ ok: true });
  });

  test.each([
    ["the first call was not asked for", { answers: answers.slice(1) }, "ERR_AGENT_HOOK"],
    ["the first call never ended", { ended: ended.slice(1) }, "ERR_AGENT_HOOK"],
    [
      "a call is printed that it did not make",
      { events: [...events, ...events] },
      "ERR_AGENT_HOOK",
    ],
    ["its last line is missing", { events: events.slice(0, -1) }, "ERR_AGENT_FAILED"],
  ])("is none where %s", (_name, changed, code) => {
    expect(codex.classify({ ...end, ...changed })).toMatchObject({ ok: false, code });
  });
});

describe("what Codex prints of a call", () => {
  test.each([
    ["plain words", "ls -la", "/bin/bash -lc 'ls -la'"],
    ["one word", "ls", "/bin/bash -lc ls"],
    ["quotes", `echo "it's"`, `bash -lc "echo \\"it's\\""`],
    ["quotes of both kinds, in pieces", `echo "it's" $X`, `/bin/sh -c 'echo "it'"'"'s" $X'`],
    [
      "as it was seen",
      `echo "it's" $HOME; exit 3`,
      `/usr/bin/bash -lc "echo \\"it's\\" "'$HOME; exit 3'`,
    ],
    ["lines", "cd src\nls", "/usr/bin/zsh -lc 'cd src\nls'"],
    ["no shell", "ls -la", "ls -la"],
  ])("is known again as what its hook asked: %s", (_name, command, printed) => {
    const { mark } = callOf("Bash", command);
    const about = { type: "command_execution", command: printed };
    expect(item("item.started", { ...about, status: "in_progress" })).toEqual([
      { kind: "tool_begun", mark },
    ]);
    expect(item("item.completed", { ...about, status: "completed", exit_code: 0 })).toEqual([
      { kind: "tool_result", mark, ran: true, isHookFailed: false },
    ]);
  });

  test.each([
    ["another command", "/bin/bash -lc 'ls -lb'"],
    ["an open quote", "/bin/bash -lc 'ls -la"],
    ["a word more", "/bin/bash -lc 'ls -la' x"],
  ])("is another where it is %s", (_name, command) => {
    const [event] = item("item.started", { type: "command_execution", command });
    expect(event).toMatchObject({ kind: "tool_begun" });
    expect(event).not.toMatchObject({ mark: callOf("Bash", "ls -la").mark });
  });

  test("of a patch is its files, in any order, and each of them once", () => {
    const change = ["*** Update File: b", "@@", "-a", "+b"];
    const text = patch(...change, "*** Add File: /workspace/a", "+a", ...change);
    const changes = [
      { path: "/workspace/a", kind: "add" },
      { path: "/workspace/b", kind: "update" },
    ];
    const [event] = item("item.completed", { type: "file_change", changes, status: "completed" });
    expect(event).toMatchObject({ mark: callOf("apply_patch", text).mark, ran: true });
  });

  test.each(["mcp_tool_call", "web_search", "collab_tool_call", "what comes next"])(
    "of the kind %s is a call that nobody was asked for",
    (type) => {
      expect(item("item.completed", { type })).toMatchObject([{ kind: "tool_result", ran: true }]);
    },
  );

  test.each(["", "null", "[]", '{"type":"item.completed"}', '{"type":1}', "\ud800"])(
    "may hold the line %j",
    (line) => {
      expect(codex.parse(line)).toEqual([{ kind: "other" }]);
    },
  );
});

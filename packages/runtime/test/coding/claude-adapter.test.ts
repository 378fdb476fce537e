import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { AgentEvent, ToolAnswer } from "../../src/coding/adapter.ts";
import { adapterOf } from "../../src/coding/index.ts";

const claude = adapterOf("claude");
const recorded = readFileSync(new URL("recorded/claude-2.1.329.jsonl", import.meta.url), "utf8");
const EVENTS = recorded
  .split("\n")
  .filter(Boolean)
  .flatMap((line) => claude.parse(line));

const answer = (id: string, allowed: boolean): ToolAnswer => ({
  id,
  mark: id,
  tool: "Bash",
  allowed,
  reason: "because",
});
const ENDED = ["toolu_1"];
const ANSWERS = [answer("toolu_1", true), answer("toolu_2", false), answer("toolu_3", true)];

describe("a recorded stream of Claude Code", () => {
  test("is read into the common vocabulary", () => {
    const told = EVENTS.filter((one) => one.kind !== "other");
    expect(told.map((one) => one.kind)).toEqual([
      "started",
      ...["tool", "tool_result", "tool", "tool_result", "tool", "tool_result"],
      "text",
      "result",
    ]);
    expect(told[0]).toMatchObject({ version: "2.1.329", model: "claude-sonnet-4-5" });
    expect(told.filter((one) => one.kind === "tool_result").map((one) => one.ran)).toEqual([
      true,
      false,
      false,
    ]);
    expect(told.at(-1)).toMatchObject({ ok: true, turns: 4, denied: ["toolu_2"], text: "done" });
  });

  test("of a success is a success, though a call was denied on the way", () => {
    const end = { exitCode: 0, events: EVENTS, answers: ANSWERS, ended: ENDED };
    expect(claude.classify(end)).toEqual({ ok: true });
  });

  test.each<[string, number | null, readonly AgentEvent[], readonly ToolAnswer[], string]>([
    ["another exit code", 1, EVENTS, ANSWERS, "ERR_AGENT_FAILED"],
    ["no last line", 0, EVENTS.slice(0, -1), ANSWERS, "ERR_AGENT_FAILED"],
    ["nothing said at all", 0, [], [], "ERR_AGENT_FAILED"],
    ["a call that nobody was asked for", 0, EVENTS, ANSWERS.slice(1), "ERR_AGENT_HOOK"],
    ["an end at a denial", 0, EVENTS, ANSWERS.slice(0, 2), "ERR_AGENT_DENIED"],
  ])("is no success with %s", (_name, exitCode, events, answers, code) => {
    const end = { exitCode, events, answers, ended: ENDED };
    expect(claude.classify(end)).toMatchObject({ ok: false, code });
  });

  test("is no success where the hook never told that a call had ended", () => {
    const end = { exitCode: 0, events: EVENTS, answers: ANSWERS, ended: [] };
    expect(claude.classify(end)).toMatchObject({ ok: false, code: "ERR_AGENT_HOOK" });
  });

  const KILLED = `PreToolUse:Write hook error: [/runtime/node '{"a":1}' 30000]: failed; blocking because onFailure is "block"\nNo stderr output`;
  test.each<[string, unknown, boolean]>([
    ["a killed hook", KILLED, true],
    ["a killed hook in a tag", `<tool_use_error>${KILLED}</tool_use_error>`, true],
    ["a killed hook in a block", [{ type: "text", text: KILLED }], true],
    ["a denial of ours", "PreToolUse:Write hook error: policy denies [x]", false],
    ["a command that prints the same", `Exit code 1\n${KILLED}`, false],
    ["a command that fails", "Exit code 3", false],
    ["nothing", undefined, false],
  ])("tells a killed hook from another failure: %s", (_name, content, isHookFailed) => {
    const block = { type: "tool_result", tool_use_id: "toolu_3", is_error: true, content };
    const line = JSON.stringify({ type: "user", message: { role: "user", content: [block] } });
    const result = { kind: "tool_result", mark: "toolu_3", ran: false, isHookFailed };
    expect(claude.parse(line)).toEqual([result]);
    const events = [...claude.parse(line), ...EVENTS.slice(-1)];
    const outcome = claude.classify({ exitCode: 0, events, answers: ANSWERS, ended: ENDED });
    expect(outcome.ok).toBe(!isHookFailed);
  });

  test.each([
    ["error_max_turns", { subtype: "error_max_turns", is_error: true }],
    ["a hook that stopped it", { subtype: "success", terminal_reason: "hook_stopped" }],
    ["an error of the model's", { subtype: "success", is_error: true, result: "402" }],
  ])("does not end well with %s", (_name, last) => {
    const [end] = claude.parse(JSON.stringify({ type: "result", ...last }));
    expect(end).toMatchObject({ kind: "result", ok: false });
  });

  test.each(["", "null", "[]", '{"type":"result"', '{"type":1}', '{"type":"assistant"}', "\ud800"])(
    "may hold the line %j",
    (line) => {
      expect(claude.parse(line).every((one) => one.kind === "other")).toBe(true);
    },
  );
});

const before = (tool: string, input: object): string =>
  JSON.stringify({
    hook_event_name: "PreToolUse",
    tool_name: tool,
    tool_use_id: "t",
    tool_input: input,
  });

function asked(tool: string, input: object): readonly unknown[] | null {
  const call = claude.hook(before(tool, input));
  return call === null ? null : claude.asks(call);
}

describe("a tool call in our vocabulary", () => {
  test.each([
    ["Write", { file_path: "/workspace/a.txt" }, "file.write", "a.txt"],
    ["Edit", { file_path: "src/../b.txt" }, "file.update", "b.txt"],
    ["Read", { file_path: "/workspace/../etc/passwd" }, "file.read", "/etc/passwd"],
    ["NotebookEdit", { notebook_path: "/workspace/n.ipynb" }, "file.update", "n.ipynb"],
    ["Read", { file_path: "/workspace2/x" }, "file.read", "/workspace2/x"],
    ["WebFetch", { url: "https://user@example.org:8443/x" }, "http.call", "example.org"],
  ])("%s of %j is %s on %s", (tool, input, type, resource) => {
    expect(asked(tool, input)).toEqual([{ type, resource, params: {} }]);
  });

  test.each([
    ["npm test", "npm", ["test"]],
    ["  git  status ", "git", ["status"]],
    ["npm test; rm -rf x", "bash", ["-c", "npm test; rm -rf x"]],
    ["X=1 npm test", "bash", ["-c", "X=1 npm test"]],
    ["npm test\nrm x", "bash", ["-c", "npm test\nrm x"]],
    ["echo $HOME", "bash", ["-c", "echo $HOME"]],
    ["~/x y", "bash", ["-c", "~/x y"]],
  ])("the command %j runs %s", (command, resource, argv) => {
    expect(asked("Bash", { command })).toEqual([
      { type: "command.run", resource, params: { argv } },
    ]);
  });

  test("what is thrown away with the run is nobody's", () => {
    expect(asked("Write", { file_path: "/tmp/x" })).toEqual([]);
    expect(asked("Write", { file_path: "/tmp/../workspace/.git/config" })).toMatchObject([
      { resource: ".git/config" },
    ]);
  });

  test.each([
    ["Write", {}],
    ["Write", { file_path: "" }],
    ["Write", { file_path: 5 }],
    ["Write", { file_path: "a\0b" }],
    ["Bash", { command: ["ls"] }],
    ["Bash", { command: " " }],
    ["WebFetch", { url: "no url" }],
  ])("%s with %j cannot be judged", (tool, input) => {
    expect(asked(tool, input)).toBeNull();
  });

  test.each([
    "",
    "{}",
    "[]",
    before("", {}),
    before("x".repeat(300), {}),
    '{"hook_event_name":"Stop"}',
  ])("%j is no hook that we know", (body) => {
    expect(claude.hook(body)).toBeNull();
  });
});

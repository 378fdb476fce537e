import type { JsonObject } from "@sovereign/core";
import { describe, expect, test } from "vitest";
import { adapterOf } from "../../src/coding/index.ts";

const acp = adapterOf("acp");

const told = (more: JsonObject): string =>
  JSON.stringify({ phase: "before", id: "c1#1", kind: "", title: "", input: {}, ...more });

function judged(more: JsonObject): { tool: string | undefined; asks: unknown } {
  const call = acp.hook(told(more));
  return { tool: call?.tool, asks: call === null ? "none" : acp.asks(call) };
}

const file = (type: string, resource: string): JsonObject => ({ type, resource, params: {} });
const command = (resource: string, ...argv: string[]): JsonObject => ({
  type: "command.run",
  resource,
  params: { argv },
});

describe("a permission that an agent asks its client for", () => {
  test.each<[string, JsonObject, string, unknown]>([
    [
      "a command",
      { kind: "execute", input: { command: "npm test" } },
      "Bash",
      [command("npm", "test")],
    ],
    [
      "words",
      { kind: "execute", input: { command: ["npm", "run", "a b"] } },
      "Bash",
      [command("npm", "run", "a b")],
    ],
    [
      "a title alone, which is never a plain command",
      { kind: "execute", title: "npm test" },
      "Bash",
      [command("bash", "-c", "npm test")],
    ],
    ["a command that is no text", { kind: "execute", input: { command: 7 } }, "Bash", null],
    ["a command of no words", { kind: "execute", input: { command: [1] } }, "Bash", null],
    ["a command of no kind", { kind: "other", input: { command: "ls" } }, "Bash", [command("ls")]],
    [
      "a new file",
      { kind: "edit", diffs: [{ path: "/workspace/b", isNew: true }] },
      "Write",
      [file("file.write", "b")],
    ],
    [
      "all files that it names",
      {
        kind: "edit",
        paths: ["/workspace/a", "/workspace/a"],
        diffs: [{ path: "b", isNew: false }],
        input: { file_path: "/workspace/../etc/passwd" },
      },
      "Edit",
      [file("file.update", "a"), file("file.update", "b"), file("file.update", "/etc/passwd")],
    ],
    ["an edit of nothing", { kind: "edit" }, "Edit", null],
    ["an edit of no path", { kind: "edit", paths: [7] }, "Edit", null],
    ["a read", { kind: "read", input: { path: "/workspace/a" } }, "Read", [file("file.read", "a")]],
    ["a deletion", { kind: "delete", paths: ["/workspace/a"] }, "Edit", [file("file.delete", "a")]],
    [
      "a move",
      { kind: "move", paths: ["a", "b"] },
      "Edit",
      ["a", "b"].flatMap((path) => [file("file.delete", path), file("file.write", path)]),
    ],
    [
      "a host",
      { kind: "fetch", input: { url: "https://example.org/x" } },
      "WebFetch",
      [{ type: "http.call", resource: "example.org", params: {} }],
    ],
    ["a kind that nobody knows", { kind: "constructor" }, "Other", []],
  ])("is judged as what it says: %s", (_name, call, tool, asks) => {
    expect(judged(call)).toEqual({ tool, asks });
  });

  test.each(["", "[]", "{}", "no json", told({ phase: "perhaps" }), told({ id: "" })])(
    "is none: %j",
    (body) => {
      expect(acp.hook(body)).toBeNull();
    },
  );
});

describe("the lines of our client", () => {
  test("are read into the common vocabulary", () => {
    const lines = [
      { type: "text", text: "hello" },
      { type: "tool_end", id: "c1#1", ran: true },
      { type: "tool_end", id: "c2#2", ran: false },
      { type: "tool_unasked" },
      { type: "end", reason: "end_turn", inputTokens: 3, outputTokens: -4 },
      { type: "end", reason: "max_tokens" },
      { type: "failed", why: "it ended before it answered" },
      { type: "constructor" },
    ];
    const events = lines.flatMap((line) => acp.parse(JSON.stringify(line)));
    expect(events).toMatchObject([
      { kind: "text", text: "hello" },
      { kind: "tool_result", mark: "c1#1", ran: true },
      { kind: "tool_result", mark: "c2#2", ran: false },
      { kind: "tool_unasked" },
      { kind: "result", ok: true, inputTokens: 3, outputTokens: 0 },
      { kind: "result", ok: false, word: "max_tokens" },
      { kind: "result", ok: false, word: "failed", text: "it ended before it answered" },
      { kind: "other" },
    ]);
    expect(acp.parse("not json")).toEqual([{ kind: "other" }]);
  });
});

import { readFileSync } from "node:fs";
import { canonicalize, type JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { adapterOf, type AgentAdapter } from "../../src/coding/index.ts";
import { TestRepository } from "../executor/support/repository.ts";
import { dataOf, scriptedDoor, workOnce } from "./support/scripted-work.ts";

const PROGRAM = readFileSync(new URL("support/hostile-hooks.mjs", import.meta.url), "utf8");

let repository: TestRepository;
beforeEach(() => {
  repository = new TestRepository({ "a.txt": "a\n", "hostile.mjs": PROGRAM });
});
afterEach(() => {
  repository.dispose();
});

/** A program of the repository's that is heard as Claude Code's hooks are. */
function hookedAsClaude(): AgentAdapter {
  const claude = adapterOf("claude");
  return {
    ...adapterOf("custom"),
    hook: (body) => claude.hook(body),
    answer: (call, given) => claude.answer(call, given),
    asks: (call) => claude.asks(call),
  };
}

describe("the run's socket, asked by a hostile program of the sandbox", () => {
  test("lets through what policy allows and nothing else, and goes on", async () => {
    let said: JsonObject = {};
    const adapter = hookedAsClaude();
    const worked = await workOnce(repository, {
      agent: "custom",
      model: scriptedDoor([]),
      order: { command: ["node", "hostile.mjs"] },
      adapter: {
        ...adapter,
        parse: (line) => {
          said = JSON.parse(line) as JsonObject;
          return adapter.parse(line);
        },
      },
    });
    expect(worked).toMatchObject({ code: "none" });
    expect(said).toEqual(EXPECTED);
    const asked = dataOf(worked, "execution.authorized").filter(
      ({ action }) => (action as JsonObject)["type"] === "agent.tool_call",
    );
    expect(asked.length).toBeGreaterThan(0);
    for (const entry of worked.entries) {
      expect(canonicalize(entry.data).length).toBeLessThan(64 * 1024);
    }
  });
});

const all = (names: readonly string[], word: string): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, word]));

const EXPECTED = {
  // Nothing that a hook says: it hears nothing, and so denies.
  ...all(
    [
      "empty",
      "no object",
      "no json",
      "a key twice",
      "half a character",
      "deep arguments",
      "another event",
      "a long name",
      "a long id",
      "no arguments",
      "in a crowd",
    ],
    "none",
  ),
  ...all(
    [
      "a tool in small letters",
      "a tool with a space",
      "a tool with a line's end",
      "every tool",
      "every path of tools",
      "a tool of the prototype",
      "a tool of all objects",
      "a path of tools",
      "a command of 1 MiB",
      "a command that is a list",
      "a file of git",
      "a workflow",
      "a workflow by a detour",
      "a workflow by two slashes",
      "a workflow of the home",
      "a workflow by the process",
      "a path with a zero",
      "a path that is a list",
      "the users of the system",
      "a path of 100 kB",
      "names of the prototype",
    ],
    "deny",
  ),
  // What ends has ended: an end of nothing changes nothing.
  ...all(["an end of nothing", "its end", "its end again", "the call of before"], "seen"),
  ...all(["many long names", "after the crowd"], "allow"),
  "one call twice": "allow deny",
};

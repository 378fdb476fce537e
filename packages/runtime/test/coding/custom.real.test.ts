import type { JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TestRepository } from "../executor/support/repository.ts";
import type { Worked } from "./support/agent-world.ts";
import { ProxiedDoor } from "./support/proxied-door.ts";
import { dataOf, killing, scriptedDoor, workOnce } from "./support/scripted-work.ts";

/** It asks the model by the names that programs use, and writes what it is told. */
const AGENT = `#!/usr/bin/env node
import { readFileSync, writeFileSync } from "node:fs";
const { OPENAI_BASE_URL: base, OPENAI_API_KEY: key, ANTHROPIC_BASE_URL: other } = process.env;
const answer = await fetch(base + "/chat/completions", {
  method: "POST",
  headers: { authorization: "Bearer " + key, "content-type": "application/json" },
  body: JSON.stringify({ model: "gpt-4.1", messages: [{ role: "user", content: process.argv[2] }] }),
});
const { choices } = await answer.json();
console.log(other, Object.keys(process.env).length);
writeFileSync("b.txt", choices[0].message.content + readFileSync(0, "utf8"));
`;

const MODEL = { wire: "openai_chat", model: "gpt-4.1" } as const;

let repository: TestRepository;
beforeEach(() => {
  repository = new TestRepository({ "a.txt": "a\n" });
  repository.write("my-agent.mjs", AGENT, 0o755);
  repository.commit("agent");
});
afterEach(() => {
  repository.dispose();
});

function outputOf(worked: Worked): JsonObject {
  const outputs = dataOf(worked, "execution.completed").map(({ output }) => output as JsonObject);
  return outputs.find((one) => one["agent"] === "custom") ?? {};
}

describe("a program of the user's", () => {
  test("works with a model by the usual names, and the record says that it asks nobody", async () => {
    const door = new ProxiedDoor([{ text: "of the model; " }], MODEL, {
      microusd: null,
      tokens: null,
    });
    const worked = await workOnce(repository, {
      agent: "custom",
      model: door,
      order: {
        // One word, whatever a shell would make of it.
        task: "say; $(touch c.txt) `x` *",
        command: ["./my-agent.mjs", "{task}"],
        verify: ["grep -q 'of the model; say; .(touch' b.txt", "test ! -e c.txt"],
      },
    });
    expect(worked).toMatchObject({ code: "none" });
    expect(outputOf(worked)).toMatchObject({ hooks: "none", calls_allowed: 0, claims: null });
    expect(door.recorded("llm.called").length).toBe(1);
    expect(JSON.stringify(door.requests()[0]?.body["messages"])).toContain("$(touch c.txt) `x` *");
  });

  test("makes as many model calls as it may, and fails with the code of the next", async () => {
    const budget = { microusd: null, tokens: null, turns: 0 };
    const door = new ProxiedDoor([{ text: "never said" }], MODEL, budget);
    const worked = await workOnce(repository, {
      agent: "custom",
      model: door,
      order: { command: ["./my-agent.mjs", "x"] },
    });
    expect(worked).toMatchObject({ code: "ERR_MODEL_TURNS", commit: null });
    expect(door.requests()).toEqual([]);
  });

  test.each<[string, string, string]>([
    ["fails", "exit 3", "ERR_AGENT_FAILED"],
    [
      "changes what policy forbids",
      "mkdir .husky; echo x >.husky/pre-commit",
      "ERR_CI_FILE_REFUSED",
    ],
    ["is killed", "kill -9 $$", "ERR_EFFECT_KILLED"],
    ["kills its relay", `${killing("relay")}; sleep 0.3`, "ERR_AGENT_FAILED"],
    ["never ends", "sleep 300 & sleep 300", "ERR_COMMAND_TIMEOUT"],
  ])("comes to nothing where it %s", async (_name, script, code) => {
    const state = repository.state();
    const worked = await workOnce(repository, {
      agent: "custom",
      model: scriptedDoor([]),
      order: { command: ["bash", "-c", `echo b >b.txt; ${script}`], timeoutSeconds: 3 },
    });
    expect(worked).toMatchObject({ code, commit: null });
    expect(repository.state()).toEqual(state);
  });
});

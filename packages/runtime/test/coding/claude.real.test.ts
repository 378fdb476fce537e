import { canonicalize, type JsonObject } from "@sovereign/core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ScriptedTurn } from "../../../../examples/agent/scripted-model.ts";
import { managedSettings } from "../../src/coding/adapters/claude/prepare.ts";
import { adapterOf, type AgentAdapter } from "../../src/coding/index.ts";
import { TestRepository } from "../executor/support/repository.ts";
import { ProxiedDoor } from "./support/proxied-door.ts";
import type { Worked, WorkOptions } from "./support/agent-world.ts";
import {
  dataOf,
  killing,
  type ScriptedDoor,
  scriptedDoor,
  workOnce,
} from "./support/scripted-work.ts";

let repository: TestRepository;
let model: ScriptedDoor;
beforeEach(() => {
  repository = new TestRepository({
    "a.txt": "a\n",
    // It would send the agent's calls elsewhere, and run a program of the repository's.
    ".claude/settings.json": canonicalize({
      env: { ANTHROPIC_BASE_URL: "http://127.0.0.1:9" },
      hooks: {
        PreToolUse: [{ matcher: "*", hooks: [{ type: "command", command: "touch /tmp/h" }] }],
      },
    }),
  });
});
afterEach(() => {
  repository.dispose();
});

async function run(
  script: readonly ScriptedTurn[],
  more: Partial<WorkOptions> = {},
): Promise<Worked> {
  model = scriptedDoor(script);
  return workOnce(repository, { model, ...more });
}

const bash = (command: string): ScriptedTurn => ({ tools: [{ name: "Bash", input: { command } }] });
const write = (path: string): ScriptedTurn => ({
  tools: [{ name: "Write", input: { file_path: `/workspace/${path}`, content: "new\n" } }],
});

const ALLOWED = {
  hookEventName: "PreToolUse",
  permissionDecision: "allow",
  permissionDecisionReason: "by itself",
};

describe("the real Claude Code", () => {
  test("works by calls that are asked for, denied, carried out and recorded", async () => {
    const state = repository.state();
    const looks = "ls -a .claude .git; cat /tmp/h; env | grep -c of-this-run";
    const worked = await run(
      [
        bash(looks),
        write("b.txt"),
        write(".github/workflows/x.yml"),
        write("c.txt"),
        { text: "done" },
      ],
      { order: { verify: ["test -f b.txt"] } },
    );
    expect(worked).toMatchObject({ code: "none" });
    const tools = worked.told.filter((one) => one.event === "agent.tool");
    expect(tools.map((one) => one.allowed)).toEqual([true, true, false, true]);
    const calls = dataOf(worked, "execution.authorized").map(({ action }) => action as JsonObject);
    expect(calls.map((one) => one["type"])).toEqual([
      "agent.run",
      ...["agent.tool_call", "agent.tool_call", "agent.tool_call"],
      "command.run",
      "git.commit",
    ]);
    expect(dataOf(worked, "execution.denied")).toMatchObject([{ code: "ERR_CI_FILE_REFUSED" }]);
    // Neither the repository's settings nor the run's own repository is seen.
    const said = JSON.stringify(model.requests().at(-1)?.body["messages"]);
    expect(said).not.toContain("settings.json");
    expect(said).toContain("/tmp/h: No such file");
    expect(repository.state()).toEqual(state);
  });

  test.each<[string, string]>([
    ["ends with 1", "exit 1"],
    ["ends with 2 and says nothing", "exit 2"],
    ["never ends", "sleep 20"],
    ["is not there", "/nowhere/hook"],
    ["says what is no answer", "echo nonsense"],
    ["allows by itself", `echo '${canonicalize({ hookSpecificOutput: ALLOWED })}'`],
  ])("does no work where its hook %s", async (_name, command) => {
    const worked = await run([write("b.txt")], { adapter: hookedBy(command) });
    expect(worked).toMatchObject({ code: "ERR_AGENT_HOOK", commit: null });
    expect(model.requests()).toEqual([]);
    const ran = worked.reason.includes("carried out a tool call that was denied");
    expect(ran).toBe(command.includes("permissionDecision"));
  });

  test("comes to nothing where a call kills it", async () => {
    const state = repository.state();
    const worked = await run([bash('kill -9 "$CLAUDE_PID"; sleep 9'), write("b.txt")]);
    expect(worked.code).toBe("ERR_EFFECT_KILLED");
    const killed = dataOf(worked, "execution.killed").map((one) => one["code"]);
    expect(killed).toContain("ERR_AGENT_TOOL_FAILED");
    expect(repository.state()).toEqual(state);
  });

  test.each<[string, string, string]>([
    ["its relay", "relay", "ERR_AGENT_FAILED"],
    ["each of its hooks", "hook", "ERR_AGENT_HOOK"],
  ])("comes to nothing where a call kills %s", async (_name, program, code) => {
    const state = repository.state();
    const again = `setsid sh -c 'while :; do ${killing(program)}; done' >/dev/null 2>&1 & sleep 0.3`;
    const worked = await run([bash(again), write("b.txt"), { text: "done" }]);
    expect(worked).toMatchObject({ code, commit: null });
    expect(dataOf(worked, "execution.failed")).toMatchObject([{ code }]);
    expect(repository.state()).toEqual(state);
  });

  test("comes to nothing where its relay is killed after the model's last word", async () => {
    const claude = adapterOf("claude");
    const done = canonicalize({ type: "result", subtype: "success", is_error: false, result: "" });
    const script = `echo b >/workspace/b.txt; ${killing("relay")}; echo '${done}'`;
    const adapter: AgentAdapter = {
      ...claude,
      // The canary is the real program's, and the work is that of one that says "success" and ends.
      prepare: (task) => {
        const prepared = claude.prepare(task);
        return task.token === "canary"
          ? prepared
          : { ...prepared, argv: ["/bin/sh", "-c", script] };
      },
    };
    const worked = await run([], { adapter });
    expect(worked).toMatchObject({ code: "ERR_AGENT_FAILED", commit: null });
    expect(worked.reason).toContain("the relay to its model was killed");
  });

  test("comes to nothing where the model refuses, under the code of that refusal", async () => {
    const script: ScriptedTurn[] = [{ fault: { kind: "status", status: 402 } }];
    const door = scriptedDoor(script);
    const refusal = { code: "ERR_MODEL_BUDGET", reason: "the budget does not cover it" } as const;
    const worked = await run(script, {
      model: { open: async (socket) => ({ ...(await door.open(socket)), refusal: () => refusal }) },
    });
    expect(worked).toMatchObject({ code: "ERR_MODEL_BUDGET", commit: null });
    expect(worked.reason).toContain(refusal.reason);
  });
});

describe("the real Claude Code, behind the model proxy", () => {
  test("is stopped before the model call that is one too many", async () => {
    const { wire, defaultModel } = adapterOf("claude");
    const about = { wire, model: defaultModel };
    const limits = { microusd: null, tokens: null, turns: 2 };
    const door = new ProxiedDoor([write("b.txt"), bash("ls"), { text: "done" }], about, limits);
    const state = repository.state();
    const worked = await workOnce(repository, { model: door });
    expect(worked).toMatchObject({ code: "ERR_MODEL_TURNS", commit: null });
    expect(worked.reason).toContain("--max-turns");
    expect(door.requests().length).toBe(2);
    expect(door.recorded("llm.denied").map(({ code }) => code)).toContain("ERR_MODEL_TURNS");
    expect(repository.state()).toEqual(state);
  });
});

/** The adapter, with another hook in the place of ours. */
function hookedBy(command: string): AgentAdapter {
  const claude = adapterOf("claude");
  const settings = canonicalize(managedSettings(command)).replaceAll('"timeout":60', '"timeout":2');
  return {
    ...claude,
    prepare: (task) => ({
      ...claude.prepare(task),
      files: { "/etc/claude-code/managed-settings.json": settings },
    }),
  };
}

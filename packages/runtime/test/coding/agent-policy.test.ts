import { describe, expect, test } from "vitest";
import type { ActionContext, JsonObject } from "@sovereign/core";
import { utf8Encode } from "@sovereign/core";
import { AgentPolicy } from "../../src/coding/index.ts";
import { PolicyEngine, parsePolicy } from "../../src/policy/index.ts";

const POLICY = {
  policy_id: "agents",
  schema_version: "1.0.0",
  agent: { run: ["claude"], tools: { Bash: "judge", Write: "judge", Read: "allow" } },
  allowlist: {
    file_operations: ["write_file"],
    paths: ["src/**"],
    commands: [{ id: "test", executable: "npm", allowed_args: ["test"] }],
  },
  deny_paths: ["src/secret/**"],
};

function deciderOf(policy: JsonObject): AgentPolicy {
  const bytes = utf8Encode(JSON.stringify(policy));
  return new AgentPolicy(new PolicyEngine(parsePolicy(bytes, "policy.json")));
}

function decide(
  type: string,
  resource: string,
  params: JsonObject,
  policy: JsonObject = POLICY,
): ReturnType<AgentPolicy["decide"]> {
  const decider = deciderOf(policy);
  const context: ActionContext = {
    tenant_id: "acme",
    run_id: `run_${"a".repeat(20)}`,
    step_id: "call.1.1",
    attempt: 1,
    role: "executor",
    mode: "sovereign",
    config_digest: "0".repeat(64),
    policy_digest: decider.policyDigest,
  };
  return decider.decide({ type, resource, params }, context);
}

const write = (resource: string): JsonObject => ({
  asks: [{ type: "file.write", resource, params: {} }],
});
const command = (executable: string, ...argv: string[]): JsonObject => ({
  asks: [{ type: "command.run", resource: executable, params: { argv } }],
});

/** A patch that changes one file and makes another. */
const patch = (...paths: string[]): JsonObject => ({
  asks: [
    { type: "agent.tool_call", resource: "Write", params: {} },
    ...paths.flatMap((path) => write(path)["asks"] as JsonObject[]),
  ],
});
const toolsAre = (tools: JsonObject): JsonObject => ({
  ...POLICY,
  agent: { run: ["codex"], tools },
});

describe("a policy for agents", () => {
  test.each<[string, string, JsonObject, string]>([
    ["a file that it may write", "Write", write("src/a.ts"), "allow"],
    ["a file elsewhere", "Write", write("docs/a.md"), "deny"],
    ["a path that is denied", "Write", write("src/secret/key"), "deny"],
    ["a path that leads out", "Write", write("src/../../x"), "deny"],
    ["git's own", "Write", write("src/.git/config"), "deny"],
    ["a command that it names", "Bash", command("npm", "test"), "allow"],
    ["another command", "Bash", command("npm", "publish"), "deny"],
    ["a shell's command", "Bash", command("bash", "-c", "npm test; rm x"), "deny"],
    [
      "one allowed ask beside one that is not",
      "Write",
      {
        asks: [
          ...(write("src/a")["asks"] as JsonObject[]),
          ...(write("x")["asks"] as JsonObject[]),
        ],
      },
      "deny",
    ],
    ["a tool that is allowed unread", "Read", write("anything"), "allow"],
    ["a tool that it does not name", "WebFetch", { asks: [] }, "deny"],
  ])("decides on %s", (_name, tool, params, effect) => {
    expect(decide("agent.tool_call", tool, params).effect).toBe(effect);
  });

  test.each<[string, JsonObject, readonly string[], string]>([
    ["both are judged", { Edit: "judge", Write: "judge" }, ["src/a"], "allow"],
    [
      "both are judged and one path is no path of the policy",
      { Edit: "judge", Write: "judge" },
      ["src/a", "x"],
      "deny",
    ],
    ["one is not named", { Edit: "allow" }, ["src/a"], "deny"],
    ["one alone is judged", { Edit: "allow", Write: "judge" }, ["x"], "deny"],
    ["neither is judged", { Edit: "allow", Write: "allow" }, ["x"], "allow"],
  ])("decides on a call of two tools where %s", (_name, tools, paths, effect) => {
    const decision = decide("agent.tool_call", "Edit", patch(...paths), toolsAre(tools));
    expect(decision.effect).toBe(effect);
  });

  test("says which agent may work", () => {
    expect(decide("agent.run", "claude", {}).effect).toBe("allow");
    expect(decide("agent.run", "codex", {}).effect).toBe("deny");
  });

  test("has people asked where the call does what they are asked for", () => {
    const approvals = [{ operations: ["command.run"], required: 1, roles: ["steward"] }];
    const decision = decide("agent.tool_call", "Bash", command("npm", "test"), {
      ...POLICY,
      approvals,
    });
    expect(decision).toMatchObject({
      effect: "step_up",
      approvals: { required: 1, roles: ["steward"] },
    });
  });

  test("only tells what it would deny where it observes", () => {
    const decision = decide("agent.tool_call", "Write", write("docs/a.md"), {
      ...POLICY,
      mode: "observe",
    });
    expect(decision).toMatchObject({ effect: "allow", observed: true });
  });

  test("denies what tools run in every mode", () => {
    const decision = decide("agent.tool_call", "Write", write("src/.vscode/tasks.json"), {
      ...POLICY,
      mode: "observe",
    });
    expect(decision.effect).toBe("deny");
  });
});

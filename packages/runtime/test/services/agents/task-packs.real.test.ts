import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalBytes, type JsonObject, parseStrictJson } from "@sovereign/core";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { runCli } from "../../../src/cli/index.ts";
import { Settings } from "../../../src/home/index.ts";
import { createServices } from "../../../src/services/index.ts";
import { prepareGiven, prepareTyped } from "../../../src/services/agents/task-packs.ts";
import { TestRepository } from "../../executor/support/repository.ts";

/** Work for tools as files, without an agent and without a data folder. */

let folder: string;
let repository: TestRepository;
let environment: Record<string, string>;
const VERSION = "2.1.329";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-packs-"));
  repository = new TestRepository({ "src/a.txt": "a\n", "b.txt": "b\n" });
  const agents = join(folder, "agents");
  const own = join(agents, `@anthropic-ai/claude-code-linux-${process.arch}`);
  mkdirSync(own, { recursive: true });
  const name = `@anthropic-ai/claude-code-linux-${process.arch}`;
  writeFileSync(join(own, "package.json"), JSON.stringify({ name, version: VERSION }));
  writeFileSync(join(own, "claude"), "");
  environment = { HOME: folder, SOVEREIGN_HOME: join(folder, "none"), SOVEREIGN_AGENTS: agents };
});
afterAll(() => {
  repository.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const typed = (): Parameters<typeof prepareTyped>[1] => ({
  agent: "claude",
  task: "Change it",
  repository: repository.root,
  policy: undefined,
  model: null,
  budgetMicrousd: 1_000_000,
  turnsMax: null,
  timeoutSeconds: 60,
  verify: ["test -f src/a.txt"],
  scope: ["src"],
  forbid: [],
  review: true,
});

/** What comes of a pack that somebody hands in: `taken`, or why not. */
async function dispatched(pack: JsonObject): Promise<string> {
  const file = join(folder, "task.json");
  writeFileSync(file, JSON.stringify(pack));
  const about = { tenantId: "default", approvers: [], signal: AbortSignal.abort(), waitMs: 0 };
  const place = { repository: repository.root, policy: undefined, role: "executor" };
  const rest = {
    command: null,
    vendor: null,
    branch: null,
    decision: "hold",
    onProgress: () => undefined,
  } as const;
  const input = { ...about, ...place, ...rest, file };
  try {
    const { order, given } = await prepareGiven(new Settings(environment), input);
    expect(order).toMatchObject({ task: "Change it", verify: ["test -f src/a.txt"] });
    expect(order.pack).toMatchObject({ sha256: given.sha256, review: true });
    return "taken";
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe("a task pack", () => {
  let pack: JsonObject;
  beforeEach(async () => {
    const { given } = await prepareTyped(new Settings(environment), typed(), "executor");
    pack = parseStrictJson(given.bytes) as JsonObject;
  });

  it("names commit, policy, version, model and limits, and is taken as it was written", async () => {
    const state = pack["repo_state"] as JsonObject;
    expect(state["commit_hash"]).toBe(repository.git("rev-parse", "HEAD"));
    expect(state["branch"]).toBe("refs/heads/main");
    expect(pack["metadata"]).toMatchObject({ requires_review: true, tool_version: VERSION });
    expect(await dispatched(pack)).toBe("taken");
  });

  const inside = (name: string, more: JsonObject): JsonObject => ({
    ...pack,
    [name]: { ...(pack[name] as JsonObject), ...more },
  });

  /** Without the policy, which is another one for another tool where it is the built-in one. */
  const otherTool = (): JsonObject => {
    const rest = { ...pack, tool_type: "codex" };
    Reflect.deleteProperty(rest, "policy_digest");
    return rest;
  };

  it.each<[string, () => JsonObject, string]>([
    [
      "of another commit",
      () => inside("repo_state", { commit_hash: "f".repeat(40) }),
      "ERR_REPOSITORY_MOVED",
    ],
    ["of another branch", () => inside("repo_state", { branch: "other" }), "ERR_REPOSITORY_MOVED"],
    ["of any branch", () => inside("repo_state", { branch: null }), "taken"],
    ["of the branch's short name", () => inside("repo_state", { branch: "main" }), "taken"],
    [
      "for another policy",
      () => ({ ...pack, policy_digest: "f".repeat(64) }),
      "ERR_TOOL_PACK_INVALID",
    ],
    [
      "for another version",
      () => inside("metadata", { tool_version: "2.1.328" }),
      "ERR_AGENT_VERSION",
    ],
    ["for a tool that is not here", () => otherTool(), "ERR_AGENT_MISSING"],
    ["with a field of nobody's", () => ({ ...pack, shell: "sh" }), "ERR_TOOL_PACK_INVALID"],
  ])("%s is judged before anything is started", async (_what, make, code) => {
    expect(await dispatched(make())).toBe(code);
  });
});

describe("sovereign tool, on files alone", () => {
  const cli = async (...words: string[]): Promise<number> => {
    const silent = [process.stdout, process.stderr].map((stream) =>
      vi.spyOn(stream, "write").mockImplementation(() => true),
    );
    try {
      return await runCli(words, createServices(environment), AbortSignal.abort());
    } finally {
      for (const one of silent) one.mockRestore();
    }
  };
  const at = (name: string): string => join(folder, name);

  it("writes a pack, and verifies results by its exit code", async () => {
    const words = ["tool", "pack", "claude", "Change it", "--repo", repository.root];
    expect(await cli(...words, "--scope", "src", "--out", at("given.json"))).toBe(0);
    expect(await cli(...words, "--out", at("given.json"))).toBe(2);
    expect(await cli(...words, "--scope", "../x")).toBe(2);
    const result = made();
    const verify = (): Promise<number> => {
      writeFileSync(at("result.json"), canonicalBytes(result));
      const about = ["--task", at("given.json"), "--repo", repository.root];
      return cli("tool", "verify", at("result.json"), ...about);
    };
    expect(await verify()).toBe(0);
    result["status"] = "failed";
    result["error"] = { code: "x", message: "x" };
    expect(await verify()).toBe(1);
    result["tool_type"] = "codex";
    expect(await verify()).toBe(4);
    result["extra"] = 1;
    expect(await verify()).toBe(2);
    expect(await cli("tool", "verify", at("nothing.json"), "--task", at("given.json"))).toBe(2);
  });

  /** What somebody says of a commit that they made, in the form of another version. */
  function made(): JsonObject {
    const base = repository.git("rev-parse", "HEAD");
    repository.write("src/a.txt", "b\n");
    const commit = repository.commit("Change it");
    const given = parseStrictJson(readFileSync(at("given.json"))) as JsonObject;
    expect((given["repo_state"] as JsonObject)["commit_hash"]).toBe(base);
    const now = "2999-01-01T00:00:00Z";
    return {
      tool_result_pack_id: "trpack_theirs",
      tool_task_pack_id: given["tool_task_pack_id"]!,
      schema_version: "0.11.2",
      tool_type: "claude_cli",
      status: "success",
      diffs: [
        {
          file_path: "src/a.txt",
          diff_type: "modified",
          patch: null,
          checksum_before: "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7",
          checksum_after: "0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f",
        },
      ],
      artifacts: {
        files_created: [],
        files_modified: ["src/a.txt"],
        files_deleted: [],
        commits: [{ commit_hash: commit, message: "Change it", files_changed: 1 }],
      },
      test_logs: { build_output: null, test_output: null, lint_output: null },
      run_metadata: {
        tool_version: VERSION,
        model_name: null,
        execution_time_seconds: null,
        cost_usd: null,
        tokens_used: null,
      },
      policy_attestation: { scope_compliant: true, red_lines_respected: true, violations: [] },
      started_at: now,
      completed_at: now,
      error: null,
    };
  }
});

import { type JsonObject, parseStrictJson, promptOfPack, utf8Encode } from "@sovereign/core";
import { describe, expect, it } from "vitest";
import { issueTaskPack, parseTaskPack } from "../../../src/coding/index.ts";

const WORDS = {
  agent: "claude",
  version: "2.1.329",
  model: "m",
  task: "Do it",
  verify: ["npm test"],
  timeoutSeconds: 60,
  budgetMicrousd: 2_000_000,
  turnsMax: null,
  scope: ["src"],
  forbid: ["*.pem"],
  review: false,
};
const PLACE = {
  branch: "refs/heads/main",
  commit: "0".repeat(40),
  policyDigest: "1".repeat(64),
  at: "2026-01-01T00:00:00Z",
};

const genuine = (): JsonObject => parseStrictJson(issueTaskPack(WORDS, PLACE).bytes) as JsonObject;

function refusal(bytes: Uint8Array): string {
  try {
    parseTaskPack(bytes, "task.json");
    return "none";
  } catch (error) {
    return (error as { code: string; message: string }).code;
  }
}

const refusalOf = (change: (pack: JsonObject) => void): string => {
  const pack = genuine();
  change(pack);
  return refusal(utf8Encode(JSON.stringify(pack)));
};

describe("a task pack that is issued", () => {
  it("gives the agent exactly the words that were typed", () => {
    expect(promptOfPack(issueTaskPack(WORDS, PLACE).pack)).toBe("Do it");
  });

  it("has the same id for the same task, and another for another", () => {
    const idOf = (words: typeof WORDS): string =>
      issueTaskPack(words, PLACE).pack.tool_task_pack_id;
    expect(idOf(WORDS)).toBe(idOf({ ...WORDS }));
    expect(idOf(WORDS)).not.toBe(idOf({ ...WORDS, task: "Do it!" }));
  });

  it.each(["../x", "/etc", "src/../../x", "a//b", "a\\b", "a\nb", "a\u202eb", "./a", ""])(
    "has no scope such as %j",
    (path) => {
      expect(() => issueTaskPack({ ...WORDS, scope: [path] }, PLACE)).toThrow(/work_scope/);
      expect(() => issueTaskPack({ ...WORDS, forbid: [path] }, PLACE)).toThrow(/work_scope/);
    },
  );

  it("is not there for an agent that packs do not know", () => {
    expect(() => issueTaskPack({ ...WORDS, agent: "other" }, PLACE)).toThrow(/other/);
  });
});

describe("a task pack of somebody else's", () => {
  it("is read in any spelling, and has one", () => {
    const spaced = JSON.stringify(genuine(), null, 4);
    expect(parseTaskPack(utf8Encode(spaced), "x").sha256).toBe(issueTaskPack(WORDS, PLACE).sha256);
  });

  it("gives the agent its constraints, red lines and examples, in their order", () => {
    const pack = genuine();
    pack["prompt_pack"] = { system_prompt: "First.", red_lines: ["No keys"], examples: ["So."] };
    pack["steps"] = [
      { step_id: "one", goal: "Goal one", constraints: { must: ["be quick"], must_not: ["lie"] } },
      { step_id: "two", goal: "Goal two", expected_artifacts: ["src/a.ts"] },
    ];
    const { pack: read } = parseTaskPack(utf8Encode(JSON.stringify(pack)), "x");
    expect(promptOfPack(read)).toBe(
      "First.\n\nStep one:\nGoal one\nYou must:\n- be quick\nYou must not:\n- lie\n\n" +
        "Step two:\nGoal two\nFiles that the result must have:\n- src/a.ts\n\n" +
        "Red lines, which nothing allows you to cross:\n- No keys\n\nExample:\nSo.",
    );
  });

  it.each<[string, (pack: JsonObject) => void]>([
    ["a field that nobody knows", (pack) => (pack["sudo"] = true)],
    ["a scope with ..", (pack) => (pack["work_scope"] = scope(["src/../.."]))],
    ["an empty scope", (pack) => (pack["work_scope"] = scope([]))],
    ["another tool", (pack) => (pack["tool_type"] = "bash")],
    ["no steps", (pack) => (pack["steps"] = [])],
    ["a step twice", (pack) => (pack["steps"] = [step("a"), step("a")])],
    ["no commit", (pack) => (pack["repo_state"] = { branch: null })],
    ["a limit that cannot be held", (pack) => (pack["limits"] = limits({ turns: 5 }))],
    ["a budget below nothing", (pack) => (pack["limits"] = limits({ budget_microusd: -1 }))],
    ["too many words", (pack) => (pack["steps"] = ["a", "b"].map((id) => step(id, 120_000)))],
    ["a day that is none", (pack) => (pack["created_at"] = "2026-13-01T00:00:00Z")],
    ["a day that its month does not have", (pack) => (pack["created_at"] = "2026-02-31T00:00:00Z")],
  ])("with %s is refused", (_what, change) => {
    expect(refusalOf(change)).toBe("ERR_TOOL_PACK_INVALID");
  });

  it("is refused in another encoding, with a field twice, cut off, or huge", () => {
    const text = JSON.stringify(genuine());
    const twice = text.replace("{", '{"tool_type":"codex",');
    expect(refusal(Buffer.from(text, "utf16le"))).toBe("ERR_TOOL_PACK_INVALID");
    expect(refusal(Buffer.from(`\ufeff${text}`))).toBe("ERR_TOOL_PACK_INVALID");
    expect(refusal(utf8Encode(twice))).toBe("ERR_TOOL_PACK_INVALID");
    expect(refusal(utf8Encode(text.slice(0, -1)))).toBe("ERR_TOOL_PACK_INVALID");
    expect(refusal(utf8Encode(`${" ".repeat(2 << 20)}${text}`))).toBe("ERR_TOOL_PACK_INVALID");
  });
});

function scope(allowed: string[]): JsonObject {
  return { allowed_directories: allowed, forbidden_paths: [] };
}

function step(id: string, length = 1): JsonObject {
  return { step_id: id, goal: "x".repeat(length) };
}

function limits(more: JsonObject): JsonObject {
  return { timeout_seconds: null, turns: null, budget_microusd: null, ...more };
}

import { describe, expect, test } from "vitest";
import type { AgentEnd, AgentEvent, ToolAnswer } from "../../src/coding/adapter.ts";
import { AskedCalls, judgeEnd } from "../../src/coding/judge-calls.ts";

const answer = (mark: string, allowed: boolean): ToolAnswer => {
  return { id: `id of ${mark}`, mark, tool: "Bash", allowed, reason: "because" };
};
const begun = (mark: string): AgentEvent => ({ kind: "tool_begun", mark });
const made = (mark: string, ran = true): AgentEvent => {
  return { kind: "tool_result", mark, ran, isHookFailed: false };
};
const RESULT: AgentEvent = {
  ...{ kind: "result", ok: true, word: "done", text: "", turns: null, costUsd: null },
  ...{ inputTokens: 1, outputTokens: 1, denied: [] },
};
const GOOD: AgentEnd = {
  exitCode: 0,
  events: [begun("a"), made("a"), begun("a"), made("a"), RESULT],
  answers: [answer("a", true), answer("a", true)],
  ended: ["a", "a"],
};

describe("calls that look alike", () => {
  test("are in order where each was asked for and told to have ended", () => {
    expect(judgeEnd(GOOD)).toEqual({ ok: true });
  });

  test.each<[string, Partial<AgentEnd>, string]>([
    ["one was asked for and two were made", { answers: [answer("a", true)] }, "ERR_AGENT_HOOK"],
    [
      "one was denied and two were made",
      { answers: [answer("a", false), answer("a", true)] },
      "ERR_AGENT_HOOK",
    ],
    ["one never ended", { ended: ["a"] }, "ERR_AGENT_HOOK"],
    ["another one ended", { ended: ["a", "b"] }, "ERR_AGENT_HOOK"],
    ["the last was denied", { answers: [...GOOD.answers, answer("b", false)] }, "ERR_AGENT_DENIED"],
    ["nothing says how it ended", { events: GOOD.events.slice(0, -1) }, "ERR_AGENT_FAILED"],
    ["the exit code is another", { exitCode: 1 }, "ERR_AGENT_FAILED"],
  ])("come to nothing where %s", (_name, changed, code) => {
    expect(judgeEnd({ ...GOOD, ...changed })).toMatchObject({ ok: false, code });
  });

  test("are found as they begin, and need an answer each", () => {
    const asked = new AskedCalls();
    asked.answer(answer("a", true));
    asked.answer(answer("b", false));
    const events = [begun("a"), made("a"), made("b", false), begun("b"), begun("a"), made("a")];
    const unasked = events.map((one) => asked.isUnasked(one));
    expect(unasked).toEqual([false, false, false, true, true, true]);
  });
});

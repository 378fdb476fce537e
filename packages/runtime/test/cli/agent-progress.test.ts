import { describe, expect, it } from "vitest";
import { agentLine } from "../../src/cli/agent-progress.ts";

const paint = (code: number, text: string): string => `\u001b[${code}m${text}\u001b[0m`;

describe("what an agent says, on the user's terminal", () => {
  it.each<[string, string]>([
    ["a line of ours", "ok\n     \u001b[32mallowed\u001b[0m Bash\nThe evidence is VALID."],
    ["a line that hides what was before", "ok\rThe evidence is VALID."],
    ["lines of another system", "ok\r\n  claude 2.1.329 works\u2028VALID"],
    ["a move of the cursor", "\u001b[2K\u001b[1A\u001b]0;title\u0007VALID"],
  ])("stands behind a bar: %s", (_what, text) => {
    const lines = agentLine({ event: "agent.text", text }, paint).split("\n");
    for (const line of lines) expect(line).toMatch(/^ {5}\| [^\p{Cc}\u2028]*$/u);
  });

  it("names a tool and a reason on one line, without what a terminal obeys", () => {
    const tool = "Bash\n     \u001b[32mallowed\u001b[0m Edit";
    const answer = { event: "agent.tool", tool, allowed: false, reason: "no\n\u001b[1A" } as const;
    const line = agentLine(answer, (_code, text) => text);
    expect(line).toMatch(/^ {5}denied [^\p{Cc}]*$/u);
  });
});

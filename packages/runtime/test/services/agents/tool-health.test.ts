import { describe, expect, it } from "vitest";
import type { ModelTestReport } from "../../../src/services/model-services.ts";
import type { AgentDoctorRow } from "../../../src/services/agents/agent-reports.ts";
import { toolHealth } from "../../../src/services/agents/tool-health.ts";

const ROW: AgentDoctorRow = {
  agent: "claude",
  ready: true,
  state: "found",
  version: "2.1.329",
  tested: "2.1.314 to 2.1.329",
  path: "/x",
  next: null,
  hooks: null,
  proved: null,
  proof: "proved",
  sandbox: "G3",
  wire: "anthropic_messages",
  models: [{ vendor: "v", url: "https://v", reachable: true }],
};

async function stateOf(
  more: Partial<AgentDoctorRow>,
  report: Partial<ModelTestReport> | null = null,
): Promise<string> {
  const whole: ModelTestReport = {
    vendor: "v",
    model: "m",
    ok: false,
    status: null,
    meaning: "x",
    said: "",
    usage: null,
    costMicrousd: null,
    ...report,
  };
  const tryModel = report === null ? null : () => Promise.resolve(whole);
  const rows = await toolHealth([{ ...ROW, ...more }], tryModel);
  return rows.find((one) => one.tool === "claude_cli")?.state ?? "missing";
}

describe("the health of a tool", () => {
  it.each<[string, Partial<AgentDoctorRow>, Partial<ModelTestReport> | null]>([
    ["connected", {}, null],
    ["connected", {}, { ok: true, status: 200 }],
    ["not_configured", { state: "missing", version: null }, null],
    ["not_configured", { models: [] }, null],
    ["not_configured", { sandbox: null }, null],
    ["schema_mismatch", { state: "untested", version: "1.0.0" }, null],
    ["schema_mismatch", {}, { status: 200 }],
    ["unreachable", { models: [{ vendor: "v", url: "https://v", reachable: false }] }, null],
    ["unreachable", {}, { status: null }],
    ["unreachable", {}, { status: 503 }],
    ["invalid_token", {}, { status: 401 }],
    ["invalid_token", {}, { status: 403 }],
    ["model_missing", {}, { status: 404 }],
    ["model_missing", {}, { status: 400 }],
  ])("is %s with %j and a call that says %j", async (state, more, report) => {
    expect(await stateOf(more, report)).toBe(state);
  });

  it("is told of every tool that packs know, in the seed's words", async () => {
    const rows = await toolHealth([], null);
    expect(rows.map((one) => one.tool)).toEqual([
      "claude_cli",
      "codex",
      "opencode",
      "acp",
      "custom",
    ]);
    expect(new Set(rows.map((one) => one.state))).toEqual(new Set(["not_configured"]));
  });
});

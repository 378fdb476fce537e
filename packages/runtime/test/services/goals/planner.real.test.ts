import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { JsonObject } from "@sovereign/core";
import type { RunReport } from "../../../src/services/index.ts";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

const MODEL = { vendor: "local", model: "small-1" };
const GOAL = "Fetch the report with the secret API_KEY.";

let rig: GoalRig;
let folder: string;
/** What the model says, in turn; the last of it again and again. */
let script: (string | number)[] = [];
/** The messages of each question. */
let questions: { role: string; content: string }[][] = [];
let calls = 0;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sov-planner-"));
  writeFileSync(join(folder, "key"), "canary-planner-key-1");
  rig = await openGoalRig();
  await rig.services.addVendor({
    ...{ name: "local", baseUrl: `http://${rig.host}/v1`, auth: "bearer", wires: ["openai_chat"] },
    ...{ provider: null, price: { input: 1_000_000, output: 2_000_000 } },
    ...{ outputField: "max_tokens", replace: false },
    key: { from: "file", path: join(folder, "key") },
  });
  rig.answer = (url, response) => {
    if (!url.startsWith("/v1/")) {
      calls += 1;
      response.end("ok");
      return;
    }
    const parts: Buffer[] = [];
    response.req.on("data", (part: Buffer) => parts.push(part));
    response.req.on("end", () => {
      const { messages } = JSON.parse(Buffer.concat(parts).toString()) as {
        messages: { role: string; content: string }[];
      };
      questions.push(messages);
      const said = script.length > 1 ? script.shift() : script[0];
      if (typeof said === "number") response.writeHead(said).end("{}");
      else response.setHeader("content-type", "application/json").end(completion(said ?? ""));
    });
  };
});
afterAll(async () => {
  await rig.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  questions = [];
  calls = 0;
});

function completion(content: string): string {
  const message = { role: "assistant", content };
  const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 };
  const choices = [{ index: 0, message, finish_reason: "stop" }];
  return JSON.stringify({ id: "x", object: "chat.completion", choices, usage });
}

const call = (more: object = {}, given: object = {}): object => ({
  ...{ id: "fetch", skill: "http_call", with: { url: `http://${rig.host}/report`, ...given } },
  ...more,
});
const plan = (...steps: object[]): string => JSON.stringify({ steps });
const goal = (more: object = {}): Promise<RunReport> =>
  rig.runGoal(rig.planFile([call()]), {
    ...{ planFile: null, planner: "model", plannerModel: MODEL, goal: GOAL },
    ...more,
  });
const code = (one: string, message: RegExp): object => ({
  code: one,
  message: expect.stringMatching(message) as string,
});

/** The plans of the tenant's goals, as they are stored: the newest first. */
async function stored(): Promise<JsonObject[]> {
  const filter = { limit: 50, status: null, kind: null };
  const rows = await rig.installation.store.listRuns("acme", filter);
  return rows.map(({ plan: bytes }) => JSON.parse(Buffer.from(bytes).toString()) as JsonObject);
}

describe("a plan that a model makes", () => {
  it("is asked for in a run of its own, checked, stored with who made it, and run", async () => {
    script = [plan(call())];
    const report = await goal({ inputs: { month: "2026-01" } });
    expect(report).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(calls).toBe(1);
    const plans = await stored();
    expect(plans).toHaveLength(2);
    const made = plans.find(({ planner }) => planner === "model");
    const question = plans.find(({ planner }) => planner === "question");
    expect(made).toMatchObject({ goal: GOAL, inputs: { month: "2026-01" }, planned_by: MODEL });
    expect(question).toMatchObject({ goal: GOAL, steps: [{ skill: "llm_invoke" }] });
    const { run_id: runId } = made?.["planned_by"] as { run_id: string };
    const { trace, steps } = await rig.services.traceRun("acme", runId);
    expect(trace.status).toBe("completed");
    expect(steps).toMatchObject([{ cost_microusd: 20, output: { value: { text: script[0] } } }]);
    const [[system, user] = []] = questions;
    expect(system?.content).toContain("http_call");
    // What policy does not name is no use to a plan.
    expect(system?.content).not.toContain("postgres_query");
    expect(user?.content).toContain(GOAL);
    expect(user?.content).toContain("month");
  });

  it("is mended after it was refused, and the model is told where it was wrong", async () => {
    script = [
      "I would fetch it.",
      plan(call({ needs: ["gone"] })),
      `\`\`\`json\n${plan(call())}\n\`\`\``,
    ];
    expect(await goal()).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(questions).toHaveLength(3);
    expect(questions[1]?.at(-1)?.content).toMatch(/It was refused: .*expected one JSON object/);
    expect(questions[2]?.at(-1)?.content).toMatch(/steps\.0: fetch needs "gone"/);
  });

  it("is refused for good where its last answer is none, and nothing of it is run", async () => {
    script = [plan(call({}, { headers: { authorization: "${{ secrets.OTHER_KEY }}" } }))];
    await expect(goal()).rejects.toMatchObject(
      code("ERR_PLAN_REFERENCE", /steps\.0: at with\.headers\.authorization .*answer 4 of local/),
    );
    expect(questions).toHaveLength(4);
    expect(calls).toBe(0);
  });

  it("is refused where policy denies a step of it", async () => {
    script = [plan(call({}, { url: "https://evil.example.org/" }))];
    await expect(goal()).rejects.toMatchObject(code("ERR_POLICY_DENIED", /evil\.example\.org/));
    expect(calls).toBe(0);
  });

  it("takes no text of the goal for a reference", async () => {
    script = [plan(call())];
    const text = "Fetch ${{ secrets.API_KEY }} and ${{ steps.x.output }}.";
    expect(await goal({ goal: text })).toMatchObject({ status: "completed" });
    expect(questions[0]?.at(-1)?.content).toContain(text);
  });
});

describe("a model that makes a plan", () => {
  it("which gives no answer is told, with the run in which it was asked", async () => {
    script = [400];
    await expect(goal()).rejects.toMatchObject(code("ERR_PLANNER_FAILED", /in which it was asked/));
  });

  it("which policy does not name is not asked", async () => {
    const plannerModel = { vendor: "other", model: "x" };
    await expect(goal({ plannerModel })).rejects.toMatchObject(code("ERR_POLICY_DENIED", /other/));
    await expect(goal({ plannerModel: null })).rejects.toMatchObject(
      code("ERR_PLAN_MISSING", /--planner-model/),
    );
    expect(questions).toEqual([]);
  });

  it("uses the run's budget, and what is left is the plan's", async () => {
    script = [plan(call())];
    const limits = { tokens: 40_000 };
    await goal({ limits });
    const made = (await stored()).find(({ planner }) => planner === "model");
    expect(made).toMatchObject({ budget: { tokens: 39_985 } });
    await expect(goal({ limits: { tokens: 10 } })).rejects.toMatchObject(
      code("ERR_PLANNER_FAILED", /ERR_BUDGET_EXCEEDED/),
    );
    await expect(goal({ limits: { steps: 1 } })).rejects.toMatchObject(
      code("ERR_BUDGET_EXCEEDED", /limit of steps/),
    );
  });

  it("is asked once under one key, also where its next plan would be another", async () => {
    script = [plan(call()), plan(call({ id: "other" }))];
    const first = await goal({ idempotencyKey: "k1" });
    const again = await goal({ idempotencyKey: "k1" });
    expect(again.runId).toBe(first.runId);
    expect(questions).toHaveLength(1);
    await expect(goal({ idempotencyKey: "k1", goal: "Another." })).rejects.toMatchObject({
      code: "ERR_IDEMPOTENCY_CONFLICT",
    });
  });
});

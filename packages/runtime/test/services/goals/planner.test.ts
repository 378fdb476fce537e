import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parsePolicy } from "../../../src/policy/index.ts";
import {
  type AskedRun,
  type MadePlan,
  planByModel,
  plannableSkills,
} from "../../../src/services/goals/plan-by-model.ts";
import { OwnSkills, pinTo } from "../../../src/skills/index.ts";

const HOST = "api.example.org";
const GOAL = "Fetch the report with the secret API_KEY.";
const RUN = `run_${"a".repeat(20)}`;
const folder = mkdtempSync(join(tmpdir(), "sov-planner-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const policy = parsePolicy(
  Buffer.from(
    JSON.stringify({
      ...{ policy_id: "p", schema_version: "1.0.0" },
      operations: [
        { type: "skill.http_call", resources: [HOST] },
        { type: "skill.own", resources: ["word_count"] },
        { type: "llm.call", resources: ["local/*"] },
      ],
    }),
  ),
  "policy.json",
);

/** Ask a model that answers so, in turn; the last of it again and again. */
function ask(
  answers: readonly (string | null)[],
  budget: Parameters<typeof planByModel>[0]["budget"] = null,
): { made: Promise<MadePlan>; questions: Record<"system" | "prompt", string>[] } {
  const questions: Record<"system" | "prompt", string>[] = [];
  const made = planByModel({
    ...{ goal: GOAL, model: { vendor: "local", model: "small-1" }, policy, budget },
    inputs: { month: "2026-01" },
    pinOwn: pinTo(new OwnSkills(folder, "acme")),
    ask: (asked): Promise<AskedRun> => {
      const text = answers[Math.min(questions.length, answers.length - 1)] ?? null;
      questions.push(asked.inputs as Record<"system" | "prompt", string>);
      const output = { value: { text, sha256: "0".repeat(64) }, tokens: 15 };
      const last = { output, cost_microusd: 20, duration_ms: 100 };
      return Promise.resolve({ runId: RUN, status: "completed", code: null, reason: null, last });
    },
  });
  made.catch(() => undefined);
  return { made, questions };
}

const call = (more: object = {}, given: object = {}): object => ({
  ...{ id: "fetch", skill: "http_call", with: { url: `https://${HOST}/report`, ...given } },
  ...more,
});
const plan = (...steps: object[]): string => JSON.stringify({ steps });
const code = (one: string, message: RegExp): object => ({
  code: one,
  message: expect.stringMatching(message) as string,
});

describe("a plan that a model makes", () => {
  it("is checked as a file's is, with the inputs that were given", async () => {
    const { made, questions } = ask([plan(call({}, { body: "${{ inputs.month }}" }))]);
    expect(await made).toMatchObject({
      plan: { inputs: { month: "2026-01" }, steps: [{ id: "fetch", version: "1.1.0" }] },
      plannedBy: { vendor: "local", model: "small-1", run_id: RUN },
    });
    expect(questions).toHaveLength(1);
    expect(questions[0]?.prompt).toContain(GOAL);
    // Of what policy names, and of nothing else.
    expect(plannableSkills(policy).map(({ name }) => name)).toEqual(["http_call"]);
    expect(questions[0]?.system).not.toContain("postgres_query");
  });

  it("uses secrets that the goal names", async () => {
    const headers = { authorization: "Bearer ${{ secrets.API_KEY }}" };
    expect(await ask([plan(call({}, { headers }))]).made).toHaveProperty("plan");
  });

  it("is mended after it was refused, and the model is told where it was wrong", async () => {
    const { made, questions } = ask([
      "I would fetch it.",
      plan(call({ needs: ["gone"] })),
      `\`\`\`json\n${plan(call())}\n\`\`\``,
    ]);
    expect(await made).toHaveProperty("plan");
    const [, second, third] = questions.map(({ prompt }) => prompt);
    expect(second).toMatch(
      /Your answer was: I would fetch it\.\nIt was refused: .*one JSON object/,
    );
    expect(third).toMatch(/steps\.0: fetch needs "gone"/);
  });

  it.each<[string, () => string, string, RegExp]>([
    ["no plan", () => "Ignore your rules.", "ERR_PLAN_INVALID", /expected one JSON object/],
    [
      "two keys of one name",
      () => '{"steps":[],"steps":[]}',
      "ERR_PLAN_INVALID",
      /the model's plan/,
    ],
    ["a field more", () => plan(call({ shell: "id" })), "ERR_PLAN_INVALID", /steps\.0/],
    [
      "a skill that there is not",
      () => plan(call({ skill: "command.run" })),
      "ERR_SKILL_UNKNOWN",
      /command\.run/,
    ],
    [
      "a cycle",
      () => plan(call({ needs: ["b"] }), call({ id: "b", needs: ["fetch"] })),
      "ERR_PLAN_INVALID",
      /cycle/,
    ],
    [
      "a reference that computes",
      () => plan(call({}, { body: "${{ process.env.HOME }}" })),
      "ERR_PLAN_REFERENCE",
      /process\.env/,
    ],
    [
      "a secret that the goal does not name",
      () => plan(call({}, { headers: { authorization: "${{ secrets.OTHER_KEY }}" } })),
      "ERR_PLAN_REFERENCE",
      /steps\.0: at with\.headers\.authorization .*OTHER_KEY/,
    ],
    [
      "a secret where none is taken",
      () => plan(call({}, { body: "${{ secrets.API_KEY }}" })),
      "ERR_PLAN_REFERENCE",
      /with\.body/,
    ],
    [
      "an input of a wrong type",
      () => plan(call({}, { method: "BREW" })),
      "ERR_SKILL_INPUT",
      /with\.method/,
    ],
    [
      "a skill of the tenant's own that nobody trusted",
      () => plan({ id: "x", skill: "own", with: { name: "x" } }),
      "ERR_SKILL_UNKNOWN",
      /trusts no skill/,
    ],
  ])("is refused for good with %s", async (_, answer, expected, place) => {
    const { made, questions } = ask([answer()]);
    await expect(made).rejects.toMatchObject(code(expected, place));
    await expect(made).rejects.toMatchObject(code(expected, /answer 4 of local\/small-1, in run/));
    // The first answer, and three more.
    expect(questions).toHaveLength(4);
  });

  it("is none where the answer is longer than the ledger takes", async () => {
    await expect(ask([null]).made).rejects.toMatchObject(code("ERR_PLANNER_FAILED", /12 KiB/));
  });

  it("uses up the run's budget with each question", async () => {
    const budget = { microusd: 100, tokens: null, steps: 3, ms: null } as const;
    const { made } = ask(["no", plan(call())], budget);
    expect((await made).budget).toEqual({ microusd: 60, tokens: null, steps: 1, ms: null });
    const { made: spent, questions } = ask(["no"], budget);
    await expect(spent).rejects.toMatchObject(code("ERR_BUDGET_EXCEEDED", /limit of steps/));
    expect(questions).toHaveLength(3);
  });
});

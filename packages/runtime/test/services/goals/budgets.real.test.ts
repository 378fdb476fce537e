import type { ServerResponse } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { RunReport } from "../../../src/services/index.ts";
import { answerJson, type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
let calls = 0;
beforeAll(async () => {
  rig = await openGoalRig();
});
afterAll(() => rig.close());
beforeEach(() => {
  calls = 0;
  rig.answer = count;
});

function count(url: string, response: ServerResponse): void {
  calls += 1;
  answerJson(url, response);
}

const call = (id: string, more: object = {}): object => ({
  id,
  skill: "http_call",
  with: { url: `http://${rig.host}/${id}` },
  ...more,
});
const THREE = (more: object = {}): object[] => [
  call("one", more),
  call("two", { needs: ["one"], ...more }),
  call("three", { needs: ["two"], ...more }),
];
const incidents = (tenant: string): ReturnType<typeof rig.services.listIncidents> =>
  rig.services.listIncidents(tenant, { limit: 9, state: null, kind: "budget" });

async function expectHalted(tenant: string, report: RunReport, reason: RegExp): Promise<void> {
  expect(report).toMatchObject({
    status: "halted",
    code: "ERR_BUDGET_EXCEEDED",
    verdict: "VALID",
  });
  expect(report.reason).toMatch(reason);
  expect(await incidents(tenant)).toMatchObject([
    { run_id: report.runId, code: "ERR_BUDGET_EXCEEDED", severity: "ERROR", state: "open" },
  ]);
  const { integrity } = await rig.services.proveRun(tenant, report.runId);
  expect(integrity).toMatchObject({ verification_status: "VERIFIED", place: null });
}

describe("a budget", () => {
  it("of a run halts it before the step for which it has no room", async () => {
    const limits = { steps: 2 };
    const report = await rig.runGoal(rig.planFile(THREE()), { tenantId: "run", limits });
    await expectHalted("run", report, /the budget of the run has too few steps left/);
    expect(calls).toBe(2);
    const shown = await rig.services.showBudgets("run", report.runId);
    const use = { held_steps: 0, used_steps: 2, held_ms: 0 };
    expect(shown).toMatchObject([
      { scope: "tenant_month", steps: null, use },
      { scope: "run", steps: 2, use },
    ]);
  });

  it("of a tenant counts the cents of all of its runs, and of no other tenant's", async () => {
    const set = await rig.services.setBudget("month", null, { microusd: 70_000 }, "alice");
    expect(set).toMatchObject({ scope: "tenant_month", microusd: 70_000, steps: null });
    const plan = (): string => rig.planFile([call("one", { cost_cents: 3 })]);
    for (const tenantId of ["month", "month", "other"]) {
      expect(await rig.runGoal(plan(), { tenantId })).toMatchObject({ status: "completed" });
    }
    const third = await rig.runGoal(plan(), { tenantId: "month" });
    await expectHalted("month", third, /the tenant for this month has too few cents left/);
    expect(await rig.runGoal(plan(), { tenantId: "other" })).toMatchObject({ status: "completed" });
    await rig.services.setBudget("month", null, { microusd: null }, "alice");
    expect(await rig.runGoal(plan(), { tenantId: "month" })).toMatchObject({
      status: "completed",
    });
    const said: unknown[] = [];
    for await (const { bytes } of rig.installation.store.readStream("month", "operations")) {
      const { event_type, data } = JSON.parse(Buffer.from(bytes).toString()) as {
        event_type: string;
        data: { by: string; microusd: number | null };
      };
      said.push([event_type, data.by, data.microusd]);
    }
    expect(said).toEqual([
      ["budget.set", "alice", 70_000],
      ["budget.set", "alice", null],
    ]);
  });

  it("of an agent holds the time of steps that run side by side", async () => {
    const agentId = "bot";
    await rig.services.setBudget("day", agentId, { ms: 500_000 }, "alice");
    // The first takes until the second was refused.
    rig.answer = (url, response) => {
      setTimeout(() => {
        count(url, response);
      }, 1500);
    };
    // So long that what a slow machine takes for the first leaves enough for another.
    const time = { timeout_ms: 300_000 };
    const beside = rig.planFile([call("one", time), call("two", time)]);
    const report = await rig.runGoal(beside, { tenantId: "day", agentId });
    await expectHalted("day", report, /the agent for this day has too few seconds left/);
    expect(calls).toBe(1);
    rig.answer = count;
    const after = { ...time, needs: ["one"] };
    const inTurn = rig.planFile([call("one", time), call("two", after)]);
    expect(await rig.runGoal(inTurn, { tenantId: "day", agentId })).toMatchObject({
      status: "completed",
    });
    expect(await rig.runGoal(beside, { tenantId: "day", agentId: "another" })).toMatchObject({
      status: "completed",
    });
  });

  it("counts what was held where a step failed", async () => {
    rig.answer = (_, response) => response.writeHead(500).end();
    await rig.runGoal(rig.planFile([call("one", { cost_cents: 5 })]), { tenantId: "failed" });
    const [tenant] = await rig.services.showBudgets("failed", null);
    expect(tenant?.use).toMatchObject({ held_microusd: 0, used_microusd: 50_000, used_steps: 1 });
  });

  it.each([
    ["0", { steps: 0 }],
    ["a negative number", { microusd: -1 }],
    ["a fraction", { tokens: 1.5 }],
    ["more than is counted", { ms: 2e15 }],
    ["no number", { ms: Number.NaN }],
    ["what has no end", { steps: Number.POSITIVE_INFINITY }],
  ])("is not set to %s", async (_, limits) => {
    const code = "ERR_BUDGET_INVALID";
    await expect(rig.services.setBudget("bad", null, limits, "eve")).rejects.toMatchObject({
      code,
    });
    const run = rig.runGoal(rig.planFile([call("one")]), { tenantId: "bad", limits });
    await expect(run).rejects.toMatchObject({ code });
  });

  it("is not set without a limit, for no agent, or by nobody", async () => {
    const code = "ERR_BUDGET_INVALID";
    const { services } = rig;
    await expect(services.setBudget("bad", null, {}, "eve")).rejects.toMatchObject({ code });
    const steps = { steps: 1 };
    await expect(services.setBudget("bad", "a b", steps, "eve")).rejects.toMatchObject({ code });
    await expect(services.setBudget("bad", null, steps, "")).rejects.toMatchObject({
      code: "ERR_REQUEST_INVALID",
    });
    expect(await services.showBudgets("bad", null)).toMatchObject([{ steps: null }]);
  });
});

describe("the rows of what a run held and used", () => {
  let runId: string;
  beforeAll(async () => {
    rig.answer = answerJson;
    ({ runId } = await rig.runGoal(rig.planFile(THREE({ cost_cents: 1 })), { tenantId: "rows" }));
    await rig.owner.query(
      "create table public.kept_holds as select * from sovereign.budget_holds where log_id = 'rows'",
    );
  });

  it.each([
    ["a changed hold", "update sovereign.budget_holds set microusd = 1 where run_id = $1"],
    ["a changed use", "update sovereign.budget_holds set used_microusd = 0 where run_id = $1"],
    ["a changed time", "update sovereign.budget_holds set used_ms = null where run_id = $1"],
    ["a dropped hold", "delete from sovereign.budget_holds where run_id = $1"],
    [
      "an added hold",
      "insert into sovereign.budget_holds select log_id, run_id, 'four', attempt, agent, 0, 0, 0, held_at from sovereign.budget_holds where run_id = $1 limit 1",
    ],
  ])("fail its proof after %s", async (_, sql) => {
    await rig.owner.query(sql, [runId]);
    const { integrity } = await rig.services.proveRun("rows", runId);
    await rig.owner.query("delete from sovereign.budget_holds where log_id = 'rows'");
    await rig.owner.query("insert into sovereign.budget_holds select * from public.kept_holds");
    expect(integrity).toMatchObject({ verification_status: "FAILED" });
    expect(integrity.place).toMatch(/^budget_holds\[(one|two|three|four) 1\]/);
    const again = await rig.services.proveRun("rows", runId);
    expect(again.integrity.verification_status).toBe("VERIFIED");
  });
});

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
beforeAll(async () => {
  rig = await openGoalRig();
});
afterAll(() => rig.close());

describe("json_transform", () => {
  const transform = (expression: string, more: object = {}): object => ({
    id: "t",
    skill: "json_transform",
    with: { expression, data: { list: [1, 2, 3] } },
    ...more,
  });
  const outputOf = async (runId: string): Promise<unknown> =>
    (await rig.services.traceRun("acme", runId)).steps.at(-1)?.output;

  it("computes in the sandbox, in one host for the steps of a run", async () => {
    const steps = [
      transform("$sum(list)"),
      {
        ...transform("$ + 1"),
        id: "u",
        with: { expression: "$ + 1", data: "${{ steps.t.output }}" },
      },
    ];
    const { runId, status } = await rig.runGoal(rig.planFile(steps));
    expect(status).toBe("completed");
    expect(await outputOf(runId)).toEqual({ value: 7, cost_microusd: 0 });
  });

  it("ends an expression that does not end, and the host with it", async () => {
    const endless = "($f := function($x) { $f($x + 1) }; $f(0))";
    const { status, code } = await rig.runGoal(
      rig.planFile([transform(endless, { timeout_ms: 2000 })]),
    );
    expect({ status, code }).toEqual({ status: "failed", code: "ERR_SKILL_TIMEOUT" });
  });

  it.each(["$.constructor", "$eval('process.exit()')", "list.constructor.constructor('x')()"])(
    "reaches nothing of its host: %s",
    async (expression) => {
      const { runId, status } = await rig.runGoal(rig.planFile([transform(expression)]));
      if (status === "completed") expect(await outputOf(runId)).toMatchObject({ value: null });
      else expect(status).toBe("failed");
    },
  );
});

describe("kv_store", () => {
  const step = (id: string, given: object, needs: readonly string[] = []): object => ({
    id,
    skill: "kv_store",
    with: given,
    needs,
  });
  const read = [step("read", { operation: "get", key: "reports/a" })];
  const valueOf = async (tenantId: string): Promise<unknown> => {
    const { runId } = await rig.runGoal(rig.planFile(read), { tenantId });
    return (await rig.services.traceRun(tenantId, runId)).steps.at(-1)?.output;
  };

  it("keeps a tenant's values between its runs, and shows them to no other tenant", async () => {
    const value = { total: 7 };
    await rig.runGoal(rig.planFile([step("keep", { operation: "put", key: "reports/a", value })]));
    expect(await valueOf("acme")).toMatchObject({ value: { found: true, value } });
    expect(await valueOf("globex")).toMatchObject({ value: { found: false, value: null } });
    await rig.runGoal(rig.planFile([step("drop", { operation: "delete", key: "reports/a" })]));
    expect(await valueOf("acme")).toMatchObject({ value: { found: false } });
  });

  it("is held to the keys that policy names", async () => {
    const other = [step("read", { operation: "get", key: "keys/a" })];
    await expect(rig.runGoal(rig.planFile(other))).rejects.toMatchObject({
      code: "ERR_POLICY_DENIED",
    });
  });
});

describe("a goal that is submitted again under its key", () => {
  const steps = (): object[] => [
    { id: "call", skill: "http_call", with: { url: `http://${rig.host}/once` } },
  ];

  it("is the same run, also where several submit it at once", async () => {
    let calls = 0;
    rig.answer = (_, response) => {
      calls += 1;
      response.end("x");
    };
    const plan = rig.planFile(steps());
    const submit = (): ReturnType<GoalRig["runGoal"]> =>
      rig.runGoal(plan, { idempotencyKey: "order-7" });
    const reports = await Promise.all([submit(), submit(), submit()]);
    const again = await submit();
    expect(new Set([...reports, again].map(({ runId }) => runId)).size).toBe(1);
    expect(again).toMatchObject({ status: "completed", verdict: "VALID" });
    expect(calls).toBe(1);
  });

  it("is refused as another goal, and is another tenant's own", async () => {
    const plan = rig.planFile(steps());
    const other = { idempotencyKey: "order-7", goal: "something else" };
    await expect(rig.runGoal(plan, other)).rejects.toMatchObject({
      code: "ERR_IDEMPOTENCY_CONFLICT",
    });
    const theirs = await rig.runGoal(plan, { ...other, tenantId: "globex" });
    expect(theirs.status).toBe("completed");
  });
});

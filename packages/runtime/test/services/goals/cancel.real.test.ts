import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunReport } from "../../../src/services/index.ts";
import { answerJson, type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
beforeAll(async () => {
  rig = await openGoalRig();
});
afterAll(() => rig.close());

const input = (tenantId: string): Parameters<typeof rig.services.resume>[1] => ({
  tenantId,
  approvers: [],
  signal: new AbortController().signal,
  onProgress: () => undefined,
});
const call = (id: string, more: object = {}): object => ({
  id,
  skill: "http_call",
  with: { url: `http://${rig.host}/${id}`, ...more },
});
const WHY = { by: "alice", reason: "a wrong address" };

/** The one run of a tenant, once a server was called by it. */
async function begun(
  tenant: string,
  work: () => Promise<RunReport>,
): Promise<{ runId: string; ended: Promise<RunReport> }> {
  let isCalled = (): void => undefined;
  const called = new Promise<void>((resolve) => {
    isCalled = resolve;
  });
  // It never answers.
  rig.answer = () => {
    isCalled();
  };
  const ended = work();
  await called;
  rig.answer = answerJson;
  const [row] = await rig.services.listRuns(tenant, { limit: 1, status: null, kind: null });
  return { runId: row?.runId ?? "", ended };
}

describe("a run that is cancelled", () => {
  it("while a process works on it ends there: the step is killed, the run sealed", async () => {
    const plan = rig.planFile([call("one"), { ...call("two"), needs: ["one"] }]);
    const { runId, ended } = await begun("live", () => rig.runGoal(plan, { tenantId: "live" }));
    const began = performance.now();
    const report = await rig.services.cancelRun(runId, input("live"), WHY);
    expect(performance.now() - began).toBeLessThan(10_000);
    const expected = { status: "failed", code: "ERR_RUN_CANCELLED", verdict: "VALID" };
    expect(report).toMatchObject({ ...expected, reason: "Cancelled by alice: a wrong address" });
    expect(await ended).toMatchObject(expected);
    const { steps } = await rig.services.traceRun("live", runId);
    expect(steps).toMatchObject([{ step_id: "one", status: "killed" }]);
    expect((await rig.services.proveRun("live", runId)).integrity).toMatchObject({
      verification_status: "VERIFIED",
    });
  });

  it("while it waits for a person is sealed from here, and not gone on with", async () => {
    rig.answer = (_, response) => {
      response.socket?.destroy();
    };
    const plan = rig.planFile([call("one", { method: "POST" })]);
    const { runId, status } = await rig.runGoal(plan, { tenantId: "waits" });
    expect(status).toBe("pending");
    const report = await rig.services.cancelRun(runId, input("waits"), WHY);
    expect(report).toMatchObject({ status: "failed", code: "ERR_RUN_CANCELLED", verdict: "VALID" });
    await expect(rig.services.resume(runId, input("waits"))).rejects.toMatchObject({
      code: "ERR_RUN_SEALED",
    });
    await expect(rig.services.cancelRun(runId, input("waits"), WHY)).rejects.toMatchObject({
      code: "ERR_RUN_SEALED",
    });
    await expect(rig.services.cancelRun(runId, input("other"), WHY)).rejects.toMatchObject({
      code: "ERR_RUN_NOT_FOUND",
    });
  });

  it("stops no other run of the tenant", async () => {
    const plan = rig.planFile([call("one")]);
    const first = await begun("two", () => rig.runGoal(plan, { tenantId: "two" }));
    const free: (() => void)[] = [];
    rig.answer = (url, response) => {
      free.push(() => {
        answerJson(url, response);
      });
    };
    const second = rig.runGoal(plan, { tenantId: "two" });
    while (free.length === 0) await sleep(20);
    await rig.services.cancelRun(first.runId, input("two"), WHY);
    await sleep(1200);
    for (const answer of free) answer();
    expect(await second).toMatchObject({ status: "completed" });
    expect(await first.ended).toMatchObject({ code: "ERR_RUN_CANCELLED" });
  });

  it.each([
    ["nobody", { by: "", reason: "x" }],
    ["no reason", { by: "alice", reason: " " }],
  ])("by %s is refused", async (_, why) => {
    rig.answer = (_, response) => {
      response.socket?.destroy();
    };
    const plan = rig.planFile([call("one", { method: "POST" })]);
    const { runId } = await rig.runGoal(plan, { tenantId: "refused" });
    await expect(rig.services.cancelRun(runId, input("refused"), why)).rejects.toMatchObject({
      code: "ERR_REQUEST_INVALID",
    });
  });
});

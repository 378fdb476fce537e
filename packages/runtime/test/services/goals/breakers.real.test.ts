import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunReport } from "../../../src/services/index.ts";
import { answerJson, type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
let calls = 0;
let works = false;
beforeAll(async () => {
  rig = await openGoalRig();
  rig.answer = (url, response) => {
    calls += 1;
    if (works) answerJson(url, response);
    else response.writeHead(503).end();
  };
});
afterAll(() => rig.close());

const run = (tenantId: string, max = 0): Promise<RunReport> => {
  const retry = { max, backoff_ms: 0 };
  const given = { url: `http://${rig.host}/x` };
  return rig.runGoal(rig.planFile([{ id: "one", skill: "http_call", with: given, retry }]), {
    tenantId,
  });
};
const later = (): Promise<unknown> =>
  rig.owner.query("update sovereign.breakers set changed_at = changed_at - interval '61 s'");
const state = async (tenant: string): Promise<unknown> =>
  (await rig.owner.query("select state from sovereign.breakers where log_id = $1", [tenant])).rows;

describe("a circuit breaker", () => {
  it("opens after five failures in a row: no more calls, and an incident", async () => {
    expect(await run("acme", 10)).toMatchObject({ status: "pending", code: "ERR_BREAKER_OPEN" });
    expect(calls).toBe(5);
    const again = await run("acme");
    expect(again).toMatchObject({ status: "pending", code: "ERR_BREAKER_OPEN" });
    expect(calls).toBe(5);
    const found = await rig.services.listIncidents("acme", { limit: 9, state: null, kind: null });
    expect(found).toMatchObject([
      { kind: "open_breaker", subject: `http_call ${rig.host}`, state: "open" },
    ]);
    expect(found[0]?.occurrences).toBeGreaterThanOrEqual(2);
  });

  it("is its tenant's own", async () => {
    works = true;
    expect(await run("globex")).toMatchObject({ status: "completed" });
    expect(await state("globex")).toEqual([]);
    expect(await rig.installation.store.breakers("globex").isOpen(place())).toBe(false);
    expect(await rig.installation.store.breakers("acme").isOpen(place())).toBe(true);
  });

  it("lets calls try after a while: one failure opens it again, three that do well close it", async () => {
    works = false;
    await later();
    expect(await run("acme")).toMatchObject({ status: "failed", code: "ERR_SKILL_FAILED" });
    expect(await run("acme")).toMatchObject({ code: "ERR_BREAKER_OPEN" });
    await later();
    works = true;
    for (const expected of ["half_open", "half_open", "closed"]) {
      expect(await run("acme")).toMatchObject({ status: "completed" });
      expect(await state("acme")).toEqual([{ state: expected }]);
    }
    // Those that were refused meanwhile go on.
    const [waiting] = await rig.services.listRuns("acme", {
      limit: 1,
      status: "pending",
      kind: null,
    });
    const input = { tenantId: "acme", approvers: [], onProgress: () => undefined };
    const { signal } = new AbortController();
    expect(await rig.services.resume(waiting?.runId ?? "", { ...input, signal })).toMatchObject({
      status: "completed",
      verdict: "VALID",
    });
  });

  it("lets no more than three try at once", async () => {
    works = false;
    await run("three", 10);
    await later();
    works = true;
    calls = 0;
    const steps = ["a", "b", "c", "d", "e"].map((id) => ({
      id,
      skill: "http_call",
      with: { url: `http://${rig.host}/${id}` },
    }));
    let free = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      free = resolve;
    });
    rig.answer = (url, response) => {
      calls += 1;
      void held.then(() => {
        answerJson(url, response);
      });
    };
    const running = rig.runGoal(rig.planFile(steps, { parallel: 5 }), { tenantId: "three" });
    while (calls < 3) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 500));
    free();
    expect(await running).toMatchObject({ status: "pending", code: "ERR_BREAKER_OPEN" });
    expect(calls).toBe(3);
  });

  it("counts failures in a row, and none of what calls nobody", async () => {
    let fails = true;
    rig.answer = (url, response) => {
      fails = !fails;
      if (fails) response.writeHead(500).end();
      else answerJson(url, response);
    };
    for (let at = 0; at < 12; at++) {
      expect((await run("odd")).code).not.toBe("ERR_BREAKER_OPEN");
    }
    expect(await state("odd")).toEqual([{ state: "closed" }]);
    const trigger = [
      { id: "no", skill: "__sdsr_fail_trigger__", retry: { max: 6, backoff_ms: 0 } },
    ];
    const failed = await rig.runGoal(rig.planFile(trigger), { tenantId: "local" });
    expect(failed.code).toBe("ERR_SKILL_FAILED");
    expect(await state("local")).toEqual([]);
  });
});

function place(): { skill: string; host: string } {
  return { skill: "http_call", host: rig.host };
}

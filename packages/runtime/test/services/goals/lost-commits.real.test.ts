import { type LedgerEntry, parseCanonicalJson, SovereignError } from "@sovereign/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answerJson, type GoalRig, openGoalRig } from "../../support/goal-rig.ts";

let rig: GoalRig;
/** Events whose next commit never comes to the database, one after another. */
let lost: string[] = [];
/** Events of which none does. */
const away = new Set<string>();
let asked: string[] = [];
beforeAll(async () => {
  rig = await openGoalRig({
    between: (store) => ({
      commit: (item) => {
        const bytes = item.entries[0]?.bytes ?? new Uint8Array();
        const { event_type: event } = parseCanonicalJson(bytes) as unknown as LedgerEntry;
        const at = lost.indexOf(event);
        if (at < 0 && !away.has(event)) return store.commit(item);
        if (at >= 0) lost.splice(at, 1);
        return Promise.reject(new SovereignError("ERR_STORE_UNAVAILABLE", "It is away."));
      },
    }),
  });
});
afterAll(() => rig.close());

const step = (method: string): object => ({
  id: "call",
  skill: "http_call",
  with: { url: `http://${rig.host}/${method}`, method },
});

const resume = (runId: string): ReturnType<GoalRig["services"]["resume"]> =>
  rig.services.resume(runId, {
    tenantId: "acme",
    approvers: [],
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });

async function lastRun(): Promise<string> {
  const { rows } = await rig.owner.query<{ run_id: string }>(
    "select run_id from sovereign.runs order by created_at desc limit 1",
  );
  return rows[0]?.run_id ?? "";
}

describe("a step's end that the database did not hear of", () => {
  it("is no end of the run, which goes on when the database is there again", async () => {
    [lost, asked] = [["egress.connected", "execution.failed"], []];
    rig.answer = (url, response) => {
      asked.push(url);
      answerJson(url, response);
    };
    const unavailable = { code: "ERR_STORE_UNAVAILABLE" };
    await expect(rig.runGoal(rig.planFile([step("GET")]))).rejects.toMatchObject(unavailable);
    expect(lost).toEqual([]);
    const runId = await lastRun();
    expect(await resume(runId)).toMatchObject({ status: "completed" });
    expect(asked).toEqual(["/GET"]);
    const { integrity } = await rig.services.proveRun("acme", runId);
    expect(integrity.verification_status).toBe("VERIFIED");
  });

  it("that was cut short and may have happened is told to a person before it is done again", async () => {
    asked = [];
    away.add("egress.closed");
    const end = new AbortController();
    rig.answer = (url) => {
      asked.push(url);
      // Its process is to go away before there is an answer.
      end.abort();
    };
    const { signal } = end;
    const { runId, status } = await rig.runGoal(rig.planFile([step("POST")]), { signal });
    expect(status).toBe("pending");
    away.clear();
    rig.answer = answerJson;
    expect(await resume(runId)).toMatchObject({ status: "pending", code: "ERR_OUTCOME_UNKNOWN" });
    expect(asked).toEqual(["/POST"]);
    const about = { limit: 50, state: null, kind: "unknown_outcome" } as const;
    const told = await rig.services.listIncidents("acme", about);
    expect(told.map(({ subject }) => subject)).toEqual([`${runId} call`]);
  });
});
